"""XML as shops send it: the record element found, nothing fetched or expanded, every slip told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pim_platform.errors import BadInput, UnreadableFile
from tests.support.trees import Tree, read_tree

ITEM = "<SKU>A-1</SKU><NAME>Shirt</NAME><PRICE>10.00</PRICE>"
OTHER = "<SKU>B-2</SKU><NAME>Socks</NAME><PRICE>5</PRICE>"


def read(content: bytes | str, **changes: Any) -> Tree:
    return read_tree(content, "feed.xml", **changes)


def one(record: str) -> dict[str, str]:
    """The cells of a record with this content."""
    (found,) = read(f"<shop><item><sku>A</sku>{record}</item></shop>", record_path="shop/item").records
    assert found.pop("sku") == "A"
    return found


# --- where the records are ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "path", "count"),
    [
        (f"<SHOP><SHOPITEM>{ITEM}</SHOPITEM><SHOPITEM>{OTHER}</SHOPITEM></SHOP>", "SHOP/SHOPITEM", 2),
        (f"<SHOP><SHOPITEM>{ITEM}</SHOPITEM></SHOP>", "SHOP/SHOPITEM", 1),
        (('<rss xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title><link>https://x.example</link>'
         "<description>d</description><item><g:id>1</g:id><g:title>T</g:title><g:price>5 EUR</g:price>"
         "<g:gtin>1</g:gtin></item></channel></rss>"), "rss/channel/item", 1),
        (('<feed xmlns="http://www.w3.org/2005/Atom"><title>Shop</title><updated>2024</updated>'
         "<entry><id>1</id><title>T</title><price>5</price></entry></feed>"), "feed/entry", 1),
        (("<BMECAT><HEADER><CATALOG><LANGUAGE>deu</LANGUAGE><CURRENCY>EUR</CURRENCY></CATALOG><SUPPLIER>"
         "<SUPPLIER_ID>S</SUPPLIER_ID><SUPPLIER_NAME>N</SUPPLIER_NAME></SUPPLIER></HEADER><T_NEW_CATALOG>"
         "<CLASSIFICATION_GROUP><ID>1</ID><NAME>a</NAME></CLASSIFICATION_GROUP>"
         "<CLASSIFICATION_GROUP><ID>2</ID><NAME>b</NAME></CLASSIFICATION_GROUP><ARTICLE><SUPPLIER_AID>1</SUPPLIER_AID>"
         "<ARTICLE_DETAILS><DESCRIPTION_SHORT>Nail</DESCRIPTION_SHORT><EAN>4</EAN><MANUFACTURER_NAME>M"
         "</MANUFACTURER_NAME></ARTICLE_DETAILS></ARTICLE></T_NEW_CATALOG></BMECAT>"),
         "BMECAT/T_NEW_CATALOG/ARTICLE", 1),
        (("<ONIXMessage><Header><SentDate>2020</SentDate></Header><Product><RecordReference>1</RecordReference>"
         "<ProductIdentifier><IDValue>978</IDValue></ProductIdentifier><Title><TitleText>T</TitleText></Title>"
         "</Product></ONIXMessage>"), "ONIXMessage/Product", 1),
        (f"<product>{ITEM}</product>", "product", 1),
        ('<catalog><product sku="1" name="a"/><product sku="2" name="b"/></catalog>', "catalog/product", 2),
        (("<export><users><user><id>1</id><name>n</name></user><user><id>2</id><name>m</name></user></users>"
         f"<products><product>{ITEM}</product></products></export>"), "export/products/product", 1),
        ("<table><line><alpha>1</alpha></line><line><alpha>2</alpha></line></table>", "table/line", 2),
        ((f"<shop><product>{ITEM}<variants><variant><sku>A-1-S</sku><price>1</price><ean>4</ean></variant><variant>"
         "<sku>A-1-M</sku><price>1</price><ean>5</ean></variant></variants></product></shop>"), "shop/product", 3),
    ],
)  # fmt: skip
def test_the_record_element_is_found(document: str, path: str, count: int) -> None:
    tree = read(document)
    assert tree.dialect.record_path == path
    assert (len(tree.records), tree.bad) == (count, [])


def test_the_path_a_person_gives_goes_before_detection() -> None:
    document = f"<s><products><p>{ITEM}</p></products><old><p>{OTHER}</p><p>{ITEM}</p></old></s>"
    assert len(read(document, record_path="s/old/p").records) == 2
    with pytest.raises(UnreadableFile, match="no element s/new/p"):
        read(document, record_path="s/new/p")
    with pytest.raises(BadInput, match="no path of elements"):
        read(document, record_path="s//p")


# --- cells ----------------------------------------------------------------------------------------------------------


def test_elements_and_attributes_are_columns_without_namespaces() -> None:
    tree = read(
        '<r xmlns:g="urn:g" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><item g:nr="7" xsi:nil="true">'
        '<g:id>1</g:id><price currency="EUR"> 5 </price><box><size unit="cm">3</size></box></item></r>',
        record_path="r/item",
    )
    assert tree.records == [
        {"@nr": "7", "id": "1", "price/@currency": "EUR", "price": "5", "box/size/@unit": "cm", "box/size": "3"}
    ]


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        ("<image>a</image><image>b</image>", {"image": '["a","b"]'}),
        ("<image>a</image><image/>", {"image": "a"}),
        ("<t> x </t><u/><v></v>", {"t": "x"}),
        ("<d><![CDATA[<p>A &nbsp; B</p>]]></d>", {"d": "<p>A &nbsp; B</p>"}),
        ("<d>a <b>bold</b> c</d>", {"d": "a <b>bold</b> c"}),
        ("<d><p>One</p><p>Two</p></d>", {"d": "<p>One</p><p>Two</p>"}),
        ("<d>a<!-- no -->b</d>", {"d": "ab"}),
        ("<d>text<size>3</size></d>", {"d": "text", "d/size": "3"}),
        ("&#169; &lt;x&gt; &amp;", {"#text": "© <x> &"}),
        ("<price><amount>1</amount><tax>2</tax></price><price><amount>3</amount></price>",
         {"price/amount": '["1","3"]', "price/tax": "2"}),
        ("<price><tax>2</tax><amount>1</amount></price><price/><price><tax>4</tax></price>",
         {"price/tax": '["2","","4"]', "price/amount": "1"}),
    ],
)  # fmt: skip
def test_cells_hold_what_a_person_would_read(content: str, cells: dict[str, str]) -> None:
    assert one(content) == cells


def test_lists_inside_lists_stay_in_step_with_their_neighbours() -> None:
    found = one(
        "<shop><price><amount>1</amount><currency>EUR</currency></price><price><amount>2</amount></price></shop>"
        "<shop><price><currency>USD</currency></price><price><currency>CHF</currency></price></shop>"
    )
    assert json.loads(found["shop/price/amount"]) == ["1", "2", "", ""]
    assert json.loads(found["shop/price/currency"]) == ["EUR", "", "USD", "CHF"]


@pytest.mark.parametrize(
    ("content", "column", "value"),
    [
        ("<PARAM><PARAM_NAME>Colour</PARAM_NAME><VAL>red</VAL></PARAM>", "PARAM[Colour]", "red"),
        ("<PARAM><PARAM_NAME>Colour</PARAM_NAME><VAL>red</VAL><VAL>blue</VAL></PARAM>", "PARAM[Colour]",
         '["red","blue"]'),
        ("<F><FEATURE><FNAME>Mains</FNAME><FVALUE>110</FVALUE><FVALUE>220</FVALUE><FUNIT>V</FUNIT></FEATURE></F>",
         "F/FEATURE[Mains]", '["110 V","220 V"]'),
        ('<param name="Weight" unit="kg">1.5</param><param name="Colour">red</param>', "param[Weight]", "1.5 kg"),
        ('<attribute name="Colour" value="red"/>', "attribute[Colour]", "red"),
        ("<P><PARAMETER><NAME>A / B [x]</NAME><VALUE>1</VALUE></PARAMETER></P>", "P/PARAMETER[A / B [x]]", "1"),
        (("<product_detail><section_name>S</section_name><attribute_name>Cut</attribute_name>"
         "<attribute_value>slim</attribute_value></product_detail>"), "product_detail[Cut]", "slim"),
        (('<F><FNAME lang="deu">Länge</FNAME><FNAME lang="eng">Length</FNAME><FVALUE lang="deu">40</FVALUE>'
          "<FUNIT>mm</FUNIT></F>"), "F[Länge]", "40 mm"),
        ('<attrs><a name="EAN">123</a><a name="Kolor">red</a></attrs>', "attrs/a[Kolor]", "red"),
    ],
)  # fmt: skip
def test_names_and_values_become_columns_of_their_own(content: str, column: str, value: str) -> None:
    assert one(content)[column] == value


@pytest.mark.parametrize(
    "content",
    [
        '<category code="12">Shoes</category>',
        '<price type="net">1</price>',
        "<brand><name>X</name></brand>",
        "<o><options><name>S</name><value>1</value></options></o>",
        '<text><a name="top"></a><a href="https://x.example" name="y">link</a></text>',
    ],
)
def test_what_only_looks_like_a_name_and_a_value_is_left_alone(content: str) -> None:
    assert not any("[" in name for name in one(content))


def test_variants_with_an_sku_of_their_own_are_rows_behind_their_product() -> None:
    tree = read(
        "<SHOP><SHOPITEM><NAME>Shirt</NAME><BRAND>B</BRAND><PRICE>1</PRICE><VARIANTS>"
        "<VARIANT id='1'><CODE>S</CODE><SKU>1-S</SKU></VARIANT><VARIANT id='2'><CODE>M</CODE><SKU>1-M</SKU></VARIANT>"
        "</VARIANTS></SHOPITEM></SHOP>"
    )
    product = {"NAME": "Shirt", "BRAND": "B", "PRICE": "1"}
    assert tree.dialect.expand == "VARIANTS/VARIANT"
    assert [record.get("VARIANTS/VARIANT/SKU") for record in tree.records] == [None, "1-S", "1-M"]
    assert all(product.items() <= record.items() for record in tree.records)
    assert (tree.summary.rows, tree.summary.parts) == (3, 2)


def test_what_a_header_says_about_all_records_is_told() -> None:
    tree = read(
        "<ONIXMessage><Header><DefaultCurrencyCode>AUD</DefaultCurrencyCode></Header>"
        f"<Product>{ITEM}</Product></ONIXMessage>"
    )
    assert tree.summary.notes == ["The header gives the currency 'AUD' (DefaultCurrencyCode)."]


# --- bytes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("declared", [
    "utf-8", "utf-16", "windows-1250", "iso-8859-2", "shift_jis", "euc-jp", "koi8-r", "gb2312", "iso-8859-1",
])  # fmt: skip
def test_the_declared_encoding_is_read(declared: str) -> None:
    texts = {"shift_jis": "日本", "euc-jp": "日本", "koi8-r": "Цвет", "gb2312": "中文", "iso-8859-1": "Größe"}
    name = texts.get(declared, "Žluť")
    document = f'<?xml version="1.0" encoding="{declared}"?>\n<s><p><sku>1</sku><name>{name}</name></p></s>'
    assert read(document.encode(declared), record_path="s/p").records == [{"sku": "1", "name": name}]


@pytest.mark.parametrize(("encoding", "declared"), [
    ("utf-8-sig", "iso-8859-1"), ("utf-16", "utf-8"), ("utf-8", "utf-16"), ("cp1252", "utf-8"), ("utf-8", "x-made-up"),
    ("cp1252", "iso-8859-1"),
])  # fmt: skip
def test_a_declaration_that_is_not_true_does_no_harm(encoding: str, declared: str) -> None:
    document = f'<?xml version="1.0" encoding="{declared}"?>\n<s><p><sku>1</sku><name>Größe “5” €</name></p></s>'
    assert read(document.encode(encoding), record_path="s/p").records[0]["name"] == "Größe “5” €"


def test_undecodable_bytes_reject_their_record_only() -> None:
    document = f"<s><p>{ITEM}<d>{'äöüß' * 9}</d></p><p>{OTHER}<d>?</d></p></s>".encode().replace(b"<d>?", b"<d>\xff")
    tree = read(document, record_path="s/p")
    assert [record["SKU"] for record in tree.records] == ["A-1"]
    assert [(bad["row"], bad["error_code"]) for bad in tree.bad] == [(2, "undecodable")]


def test_what_precedes_the_root_does_no_harm() -> None:
    assert len(read(f"\ufeff\n  <?xml version='1.0'?><?style x?><!-- c --><s><p>{ITEM}</p></s>\n").records) == 1


# --- slips that are mended and told ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text", "note"),
    [
        ("A&nbsp;&ndash;&nbsp;B", "A\u00a0–\u00a0B", "Line 2: &nbsp;"),
        ("caf&eacute;", "café", "Line 2: &eacute;, an entity of HTML and not of XML, is read as 'é'."),
        ("R&D", "R&D", "Line 2: a bare & is read as &amp;."),
        ("a & b && c &; &1", "a & b && c &; &1", "(5 times in the file)"),
        ("a\x0bb", "a b", "Line 2: a control character (U+000B)"),
        ("a&#11;b", "a b", "Line 2: &#11;, which XML forbids"),
    ],
)
def test_slips_of_feeds_are_mended_and_told(content: str, text: str, note: str) -> None:
    tree = read(f"<s>\n<p><sku>1</sku><name>{content}</name></p></s>", record_path="s/p")
    assert tree.records[0]["name"] == text
    assert any(note in told for told in tree.summary.notes), tree.summary.notes


def test_slips_in_attributes_are_mended_and_those_in_cdata_left() -> None:
    tree = read('<s><p a="x&nbsp;&co"><sku>1</sku><d><![CDATA[R&D &nbsp;]]></d></p></s>', record_path="s/p")
    assert tree.records == [{"@a": "x\u00a0&co", "sku": "1", "d": "R&D &nbsp;"}]


@pytest.mark.parametrize("size", [262_130, 262_140, 262_143, 262_144])
def test_marks_at_the_edge_of_what_is_read_at_a_time_are_whole(size: int) -> None:
    start = "<s><p><sku>1</sku><a>"
    tree = read(f"{start}{'x' * (size - len(start))}&nbsp;<![CDATA[&]]>é & y</a></p></s>", record_path="s/p")
    assert tree.records[0]["a"].lstrip("x") == "\u00a0&é & y"


# --- what is refused ------------------------------------------------------------------------------------------------


def test_an_unknown_entity_is_named_with_its_line() -> None:
    with pytest.raises(UnreadableFile, match="line 3: the entity &shopname; is not declared") as caught:
        read("<s>\n<p>\n<a>&shopname;</a><b>1</b></p></s>")
    assert caught.value.code == "unknown_entity"
    assert (caught.value.place["row"], caught.value.place["value"]) == (3, "&shopname;")


@pytest.mark.parametrize(
    "declared",
    [
        '<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">',
        '<!ENTITY x SYSTEM "file:///etc/passwd">',
        '<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd">',
        f'<!ENTITY long "{"x" * 100}">',
        '<!ENTITY markup "&lt;b&gt;"><!ENTITY real "<b/>">',
    ],
)
def test_entities_that_expand_or_fetch_are_refused(declared: str) -> None:
    with pytest.raises(UnreadableFile, match="declares the entity") as caught:
        read(f"<!DOCTYPE s [\n{declared}]><s><p>{ITEM}</p></s>")
    assert caught.value.code == "entity_refused"


def test_entities_that_stand_for_a_short_text_are_read() -> None:
    tree = read(f'<!DOCTYPE s [<!ENTITY co "Acme &amp; Sons&#33;">]><s><p>{ITEM}<b>&co;</b></p></s>')
    assert tree.records[0]["b"] == "Acme & Sons!"


def test_a_document_type_is_never_fetched() -> None:
    # Port 9 discards; were it asked, reading would fail or wait.
    tree = read(f'<?xml version="1.0"?>\n<!DOCTYPE s SYSTEM "http://127.0.0.1:9/x.dtd">\n<s><p>{ITEM}</p></s>')
    assert len(tree.records) == 1


@pytest.mark.parametrize(
    ("document", "line", "fix"),
    [
        (f"<s><p>{ITEM}</p>\n<p>{OTHER}</q></s>", 2, "Correct the place"),
        (f"<s><p>{ITEM}</p>\n<p>{OTHER}", 2, "cut off"),
        (f"<s><p>{ITEM}</p>\n<p a=1>{OTHER}</p></s>", 2, "Correct the place"),
        (f"<s><p>{ITEM}</p>\n</s><s/>", 2, "Correct the place"),
        (f"<s><p>{ITEM}</p>\n<p>{OTHER}<a><![CDATA[x</a></p></s>", 2, ""),
    ],
)
def test_a_broken_document_names_the_line_and_what_was_read(document: str, line: int, fix: str) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read(document, record_path="s/p")
    error = caught.value
    assert (error.code, error.place["row"], error.place["records"]) == ("broken_xml", line, 1)
    assert f"line {line}" in error.message
    assert fix in error.fix


def test_nesting_without_end_is_refused_and_a_deep_record_is_told() -> None:
    with pytest.raises(UnreadableFile, match="depth"):
        read("<a>" * 2000 + "</a>" * 2000)
    deep = "<d>" * 80 + "x" + "</d>" * 80
    tree = read(f"<s><p>{ITEM}</p><p>{OTHER}{deep}</p></s>", record_path="s/p")
    assert [(bad["row"], bad["error_code"]) for bad in tree.bad] == [(2, "too_deep")]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("", "empty_file"),
        (" \n", "empty_file"),
        ("<a/>", "no_records"),
        ("<a>text</a>", "no_records"),
        ("<s><p/><p/></s>", "no_records"),
    ],
)
def test_files_without_records_say_so(document: str, code: str) -> None:
    with pytest.raises(UnreadableFile) as caught:
        read(document)
    assert caught.value.code == code


def test_empty_elements_are_no_records() -> None:
    tree = read(f"<s><p>{ITEM}</p><p/><p><SKU/></p><p>{OTHER}</p></s>", record_path="s/p")
    assert (len(tree.records), tree.bad, tree.numbers) == (2, [], [1, 2])
