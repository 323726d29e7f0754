"""The short way through VOC XML gives what the strict one gives, or leaves the file to it."""
import pathlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3_tf import image_headers
from yolov3_tf.data.readers import headers, voc_xml, xml_layouts
from yolov3_tf.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[3]
CASES = ROOT.parent / 'shared' / 'cases'
BOX = '<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40.5</ymax></bndbox>'
OBJECT = f'<object>\n\t<name>dog</name>\n\t<difficult>1</difficult>\n\t{BOX}\n</object>'
SIZE = '<size><width>96</width><height>64</height><depth>3</depth></size>'
PLAIN = f'<annotation>\n<folder>a</folder>{SIZE}{OBJECT}\n{OBJECT.replace("dog", "cat")}</annotation>\n'

# Tags and texts that mean something to XML, to this reader, or to neither.
PIECES = [
    '<annotation>', '</annotation>', '<object>', '</object>', '<name>', '</name>', '<difficult>', '</difficult>',
    '<bndbox>', '</bndbox>', '<xmin>', '</xmin>', '<ymin>', '</ymin>', '<xmax>', '</xmax>', '<ymax>', '</ymax>',
    '<size>', '</size>', '<width>', '</width>', '<height>', '</height>', '<part>', '</part>', '<name/>',
    '<object/>', '<a b="c">', '</a>', '<a b="', '">', '<a\nb="1"/>', '<!--', '-->', '<![CDATA[', ']]>', '<?a',
    '?>', '&amp;', '&#60;', '<!DOCTYPE a>', '<?xml version="1.0"?>', '<?xml version="1.0" encoding="UTF-8"?>',
    '<?xml version="1.0" encoding="latin-1"?>', '<', '>', '"', '7', '-3.5', 'nan', '1e3', ' 1 ', '1', 'dog',
    'Hünd', '\n', '\r\n', '\r', '\t', '\x0b', '\x1c', '\x7f', '\x85', '\xa0', '\u2028', '\ufeff', '\ufffd',
    '\uffff', '\U0001f436', SIZE, OBJECT, BOX]


def outcome(read, *arguments):
    """What a reader answers; NaN has no equal, so as text."""
    try:
        return repr(read(*arguments))
    except (InputError, RecursionError) as error:
        return f'refused: {error}'


def quickly(content):
    return voc_xml._quickly(content)


def agree(content):
    """Asserts that both ways agree; returns whether the short one was taken."""
    quick, strict = quickly(content), outcome(voc_xml.parse_strictly, 'a.xml', content)
    assert quick is None or repr(quick) == strict, content
    return quick is not None


def xml_files():
    """Every XML file of the tests and of the cases where they are."""
    return sorted(path for folder in (ROOT / 'tests', CASES) if folder.is_dir() for path in folder.rglob('*')
                  if path.suffix.lower() == '.xml' and path.is_file())


def test_the_ordinary_file_takes_the_short_way():
    assert agree(PLAIN.encode())
    assert quickly(PLAIN.encode()).objects[1] == voc_xml.AnnotatedObject(7, 'cat', (1., 2., 30., 40.5), '', True)
    for ordinary in ('<?xml version="1.0"?>\n' + PLAIN, '<?xml version="1.0" encoding="utf-8"?>' + PLAIN,
                     PLAIN.replace('\n', '\r\n'), PLAIN.replace('\n', '\r'), PLAIN.replace('dog', 'Hund, groß'),
                     PLAIN.replace('<annotation>', '<annotation verified="yes">'), '<annotation/>',
                     PLAIN.replace('<name>dog</name>',
                     '<part><name>head</name></part><name> dog </name><name>no</name>'),
                     PLAIN.replace('30', 'x'), PLAIN.replace('<xmax>30</xmax>', ''), PLAIN.replace('30', 'nan'),
                     PLAIN.replace('<name>dog</name>', '<name/>'), PLAIN.replace('96', ''), PLAIN.replace('96',
                     '9' * 400),
                     serialized()):
        assert agree(ordinary.encode()), ordinary


def serialized():
    return voc_xml.serialize('a.jpg', 100, 50, [('dog', (0, 0, 5, 6), False), ('a b', (1.5, 2, 7, 9), True)])


@pytest.mark.parametrize('text', [
    PLAIN.replace('dog', 'a&amp;b'), PLAIN.replace('dog', 'a<!-- x -->b'), PLAIN.replace('dog', '<![CDATA[a]]>'),
    '<!DOCTYPE annotation>' + PLAIN, '<!-- a > b -->' + PLAIN, '<?pi a?>' + PLAIN, PLAIN.replace('dog', 'a > b'),
    PLAIN.replace('dog', 'a\x00b'), PLAIN.replace('dog', 'a\x1fb'), PLAIN.replace('dog', 'a\uffffb'), '\ufeff' + PLAIN,
    '<?xml version="1.0" encoding="latin-1"?>' + PLAIN, '<?xml version="1.1"?>' + PLAIN,
    ' <?xml version="1.0"?>' + PLAIN,
    PLAIN + 'x', 'x' + PLAIN, PLAIN + PLAIN, PLAIN.replace('</size>', ''), PLAIN[:-20],
    PLAIN.replace('<object>', '<object>>'),
    PLAIN.replace('<folder>', '<folder a=">">'), PLAIN.replace('<folder>', '<folder a="1" a="2">'), '', '\n', '<>',
    '<a>',
    '<annotation>' + '<a>' * 40 + '</a>' * 40 + '</annotation>', PLAIN.replace('annotation', 'root'),
    '<annotation>]]></annotation>', b'<annotation>\xe9</annotation>', b'<annotation>\xed\xa0\x80</annotation>'])
def test_the_rest_is_left_to_the_strict_way(text):
    assert not agree(text if isinstance(text, bytes) else text.encode())


def test_every_xml_file_at_hand():
    for path in xml_files():
        agree(path.read_bytes())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25), st.integers(0, 3))
def test_any_row_of_tags_and_texts(pieces, around):
    """Around 1: inside the root; 2: inside an object; 3: where the text of a name is."""
    text = ''.join(pieces)
    text = f'<name>{text}</name>' if around == 3 else text
    text = f'{SIZE}<object>{text}{BOX}</object>' if around >= 2 else text
    agree((f'<annotation>{text}</annotation>' if around else text).encode())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([PLAIN, serialized(), '<?xml version="1.0" encoding="utf-8"?>\n' + PLAIN]), st.lists(
    st.tuples(st.integers(0, 10 ** 6), st.integers(0, 12), st.one_of(st.binary(max_size=3), st.sampled_from(
        [piece.encode() for piece in PIECES]))), min_size=1, max_size=4))
def test_damaged_files(text, edits):
    content = text.encode()
    for position, length, put in edits:
        at = position % (len(content) + 1)
        content = content[:at] + put + content[at + length:]
    agree(content)


def test_a_new_row_of_known_objects_is_composed():
    """Expat reads a part that it has not seen, and no file again for their order; lines and numbers move with them."""
    documents = []
    layouts = xml_layouts.Layouts(lambda document: documents.append(document) or voc_xml._texts_of(document),
                                  (voc_xml.expat.ExpatError, InputError))
    part = OBJECT.replace('</object>', '<part><name>head</name></part></object><segmented/>')
    for order in ([], [OBJECT], [part], [OBJECT, part], [part, OBJECT, OBJECT], [part] * 3 + [OBJECT] * 4):
        content = f'<annotation>{SIZE}{"".join(order)}</annotation>'.encode()
        assert layouts.cut(content)[1] == xml_layouts.Layouts(layouts._read, layouts._refusals)._learn(
            layouts.cut(content)[0][1::2])
        assert agree(content)
    assert len([document for document in documents if document.count(b'<object') > 1]) == 3       # those compared with
    nested = f'<annotation><source>{OBJECT}</source>{OBJECT}</annotation>'.encode()
    assert len(layouts.cut(nested)[1].objects) == 1 and agree(nested)


def test_layouts_take_bounded_memory(monkeypatch):
    layouts = xml_layouts.Layouts(voc_xml._texts_of, (voc_xml.expat.ExpatError, InputError))
    monkeypatch.setattr(xml_layouts, 'MOST_KEPT', 1000)
    for number in range(300):
        assert layouts.cut(f'<annotation a="{number}">{SIZE}</annotation>'.encode()) is not None
    assert layouts._kept <= 1000 and sum(map(len, layouts._known)) == layouts._kept
    long = b'<annotation>' + b'<a></a>' * 20_000 + b'</annotation>'
    before = layouts._kept
    assert layouts.cut(long) is not None and layouts._kept == before


def jpeg(*segments):
    return b'\xff\xd8' + b''.join(b'\xff' + bytes([marker]) + (len(body) + 2).to_bytes(2, 'big') + body
                                  for marker, body in segments) + b'\xff\xda\0\x0c' + bytes(30)


FRAME = (0xC0, b'\x08\0\x40\0\x60\x03' + bytes(9))
EXIF = (0xE1, b'Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0')


def test_jpeg_headers_take_the_short_way_where_it_agrees():
    plain = jpeg((0xE0, b'JFIF' + bytes(10)), (0xDB, bytes(65)), FRAME, (0xC4, bytes(30)))
    assert image_headers.of_plain_jpeg(plain) == image_headers.of_bytes(plain) == ('JPEG', 96, 64, 3, 8, 1)
    assert image_headers.of_plain_jpeg(jpeg(FRAME, EXIF)) is None and image_headers.of_bytes(jpeg(FRAME, EXIF))[-1] == 6
    chance = random.Random(0)
    parts = [(0xE0, bytes(14)), (0xE1, b'http://ns'), EXIF, (0xFE, b'comment'), FRAME, (0xC2, FRAME[1]), (0xD9, b''),
             (0xC0, bytes(15)), (0xDD, bytes(2)), (0x01, b'')]
    short = 0
    for _ in range(3000):
        content = bytearray(jpeg(*chance.choices(parts, k=chance.randint(0, 5))))
        for _ in range(chance.choice([0, 0, 1, 2])):
            content[chance.randrange(len(content))] = chance.choice([0, 1, 0xFF, 0xD9, 0xDA, chance.randrange(256)])
        content = bytes(content[:chance.choice([len(content), chance.randrange(len(content))])])
        quick = image_headers.of_plain_jpeg(content[:headers._START])
        assert quick is None or quick == image_headers.of_bytes(content), content
        short += quick is not None
    assert short > 100
