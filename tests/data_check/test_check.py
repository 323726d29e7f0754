"""A set with one fault of every kind: each is found once, shown, and gone from the corrected list."""
import json
import os
import struct
import tracemalloc

import cv2
import numpy as np
import pytest
from fixtures.html_tags import Tags
from fixtures.program_flags import options

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.cli import check as program
from yolov3_tf.data.readers import faults, shards, specs, voc_xml
from yolov3_tf.data_check import check, json_report, page
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

HOSTILE = '<script>alert("x")</script>&'
# name -> (its image's shape, objects (class, box, difficult))
GOOD = [('cat', (10, 10, 50, 40), False)]
IMAGES = {
    'fine': ((60, 80, 3), GOOD), 'broken': (None, GOOD), 'turned': ((60, 80, 3), GOOD), 'small': ((20, 80, 3), []),
    'grey': ((61, 80), GOOD), 'deep': ((62, 80, 3), GOOD), 'wrong': ((30, 40, 3), GOOD),
    'doubled': ((63, 80, 3), [*GOOD, ('cat', (1, 1, 9, 9), False), *GOOD]), 'empty': ((64, 80, 3), []),
    'outside': ((65, 80, 3), [*GOOD, ('cat', (60, 20, 99, 40), False), ('cat', (5, 5, 6, 9), False)]),
    'speck': ((330, 400, 3), [(HOSTILE, (7, 7, 8.5, 30), False)])}


def write_set(folder):
    """VOC layout; ``copy`` has the content of ``fine`` and other labels."""
    rng = np.random.default_rng(0)
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    for name, (shape, objects) in IMAGES.items():
        image = folder / f'JPEGImages/{name}.png'
        if shape is None:
            image.write_bytes(b'\x89PNG no image')
        elif name == 'deep':
            cv2.imwrite(str(image), rng.integers(0, 2 ** 16, shape, np.uint16))
        else:
            cv2.imwrite(str(image), rng.integers(0, 255, shape, np.uint8))
        if name == 'turned':
            turn_by_exif(image)
        height, width = (60, 80) if name in ('wrong', 'broken') else shape[:2]
        (folder / f'Annotations/{name}.xml').write_text(voc_xml.serialize(f'{name}.png', width, height, objects))
    (folder / 'JPEGImages/copy.png').write_bytes((folder / 'JPEGImages/fine.png').read_bytes())
    objects = [*GOOD, ('dog', (0, 0, 9, 9), False)]
    (folder / 'Annotations/copy.xml').write_text(voc_xml.serialize('copy.png', 80, 60, objects))
    (folder / 'ImageSets/Main/train.txt').write_text(''.join(f'{name}\n' for name in [*IMAGES, 'copy', 'gone']))
    return f'voc:{folder}:train'


def turn_by_exif(path):
    """Replaces the image by a JPEG with EXIF orientation 6."""
    jpeg = cv2.imencode('.jpg', cv2.imread(str(path)))[1].tobytes()
    tiff = b'II*\0' + struct.pack('<IHHHIHHI', 8, 1, 0x112, 3, 1, 6, 0, 0)
    exif = b'Exif\0\0' + tiff
    path.write_bytes(jpeg[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + jpeg[2:])


@pytest.fixture(scope='module')
def found(tmp_path_factory):
    spec = write_set(tmp_path_factory.mktemp('set'))
    dataset = specs.load(spec)
    return spec, dataset, check.check(dataset, YOLOV3_ANCHORS.sizes, 416, 416, True)


def stems_of(found, kind):
    _, dataset, report = found
    return [dataset.records[one.position].image_id if one.position >= 0 else '-' for one in report.findings
            if one.kind == kind]


def test_every_fault_is_found_once_with_file_and_line(found):
    _, dataset, report = found
    assert set(stems_of(found, 'annotation')) == {'outside', '-'} and len(stems_of(found, 'annotation')) == 3
    expected = dict(unreadable=['broken'], size=['wrong'], copy=['copy'], double=['doubled'], grey=['grey'],
                    deep=['deep'], extent=['small', 'wrong'], speck=['speck'], empty=['small', 'empty'], cmyk=[])
    assert {kind: stems_of(found, kind) for kind in expected} == expected
    texts = {one.kind: one.text for one in report.findings}
    double = texts['double']
    # The annotation's lines: the first object opens on line 4 and each takes 5.
    assert 'doubled.xml:14: ' in double and double.endswith('doubled.xml:4')
    assert 'annotated as 80 x 60, but ' in texts['size']
    assert texts['size'].endswith('wrong.png has 40 x 30; boxes scaled')
    assert '1 images are turned by their EXIF orientation and annotated as stored' in texts['reading']
    assert texts['copy'].endswith('fine.png, with OTHER annotations')
    # 416 / 400 times 1.5 x 23
    assert 'speck.xml:4' in texts['speck'] and 'has 1.6 x 23.9 pixels' in texts['speck']
    assert len(report.problems) == 3 + 1 + 1 + 1 + 1
    assert report.boxes.tolist() == [1, 12, 1] and report.in_images.tolist() == [1, 9, 1]
    assert dataset.class_names == sorted([HOSTILE, 'cat', 'dog'])


def test_cmyk_and_huge_by_their_headers():
    kinds = [kind for kind, _ in check._unusual(check.headers.Header('JPEG', 9000, 40, 4, 8))]
    assert kinds == ['cmyk', 'extent']


def test_the_page_holds_everything_and_runs_nothing(found):
    spec, dataset, report = found
    hostile = dataset._replace(class_names=['"><img onerror=x src=y>', *dataset.class_names[1:]])
    tags = Tags(page.render(spec + HOSTILE, hostile, report, {HOSTILE: YOLOV3_ANCHORS.sizes[0]}, 60))
    assert 'script' not in tags.seen and {'img', 'table', 'details'} <= tags.seen
    assert all(source.startswith('data:image/') for source in tags.sources)
    # The plot, and each image that has a problem and can be shown: wrong, doubled, outside, copy; six others.
    assert len(tags.sources) == 1 + 4 + min(6, 12 - 6)
    assert len(Tags(page.render(spec, dataset, report, {}, 1)).sources) < len(tags.sources)


def test_the_corrected_list_has_no_problem_left_and_touches_nothing(found, tmp_path):
    _spec, dataset, report = found
    path = str(tmp_path / 'fixed.txt')
    assert check.write_fixed(path, dataset, report) == len(dataset.records) - 2     # broken, copy
    again = specs.load(f'list:{path}', strict=True)
    assert again.class_names == dataset.class_names
    by_id = {record.image_id: record for record in again.records}
    assert len(by_id['doubled'].boxes) == 2 and (by_id['wrong'].width, by_id['wrong'].height) == (40, 30)
    np.testing.assert_array_equal(by_id['wrong'].boxes, [[5, 5, 25, 20]])        # of 80 x 60, scaled
    # a quarter turn to the right: x from 60 - y2, y from x1
    np.testing.assert_array_equal(by_id['turned'].boxes, [[20, 10, 50, 50]])
    assert (by_id['turned'].width, by_id['turned'].height, by_id['turned'].orientation) == (60, 80, 6)
    assert not check.check(again, YOLOV3_ANCHORS.sizes, 416, 416, True).problems
    for name in ('fixed.txt', 'classes.names'):
        with pytest.raises(InputError, match=f'{name} exists already and is not changed'):
            check.write_fixed(path, dataset, report)
        os.unlink(path) if name == 'fixed.txt' else None
    clean = again._replace(records=again.records[:2])
    packed = shards.read(shards.write(clean, f'{tmp_path}/s/x').pattern)
    with pytest.raises(InputError, match='a list names files'):
        check.write_fixed(str(tmp_path / 'new/fixed.txt'), packed, check.check(packed, [[9, 9]], 64, 64, True))


def test_the_programs_exit_code_and_files(found, tmp_path, capsys):
    spec = found[0]
    chosen = options(program, f'--output={tmp_path}/out', f'--fix={tmp_path}/fixed/all.txt')
    assert program.run([spec], chosen) == 1
    out = capsys.readouterr().out
    assert '7 problems' in out and 'doubled.xml:14' in out and f'{tmp_path}/fixed/all.txt: 10 of 12 images' in out
    assert 'doubled.xml:14' in (tmp_path / 'out/report.txt').read_text()
    assert (tmp_path / 'out/index.html').stat().st_size > 20_000
    assert program.run([f'list:{tmp_path}/fixed/all.txt'], options(program)) == 0
    assert ' 0 problems' in capsys.readouterr().out
    with pytest.raises(InputError, match='expected one data spec'):
        program.run([], chosen)


def test_upright_copies_are_written_elsewhere(found, tmp_path, capsys):
    spec, dataset, _ = found
    turned = next(record for record in dataset.records if record.image_id == 'turned')
    with open(turned.image_path, 'rb') as file:
        before = file.read()
    fixed = tmp_path / 'fixed'
    assert program.run([spec], options(program, f'--fix={fixed}')) == 1
    assert f'{fixed}/list.txt: 10 of 12 images, 1 of them turned upright in {fixed}/images' in capsys.readouterr().out
    copy, = (fixed / 'images').iterdir()
    assert cv2.imread(str(copy), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION).shape == (80, 60, 3)
    again = specs.load(f'list:{fixed}/list.txt', strict=True)
    record = next(record for record in again.records if record.image_id == 'turned')
    assert record.image_path == str(copy) and record.orientation == 1 and not again.notes
    np.testing.assert_array_equal(record.boxes, turned.boxes)
    with open(turned.image_path, 'rb') as file:
        assert file.read() == before
    with pytest.raises(InputError, match='images exists already and is not changed'):
        program.run([spec], options(program, f'--fix={fixed}/'))


def test_a_large_set_takes_memory_and_time_in_proportion(monkeypatch):
    """400 images of 9000 classes: a table of one by the other would be 29 MB."""
    labels = 3, 3, 8999
    record = faults.record('gone', 'gone', 9, 9, [((0, 0, 5, 5), label, False, False, None, 1) for label in labels])
    dataset = Dataset([record] * 400, [str(number) for number in range(9000)], [])
    tracemalloc.start()
    report = check.check(dataset, [[9, 9]], 64, 64, True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15e6
    assert report.boxes[[3, 8999]].tolist() == [800, 400] and report.boxes.sum() == 1200
    assert report.in_images[[3, 8999]].tolist() == [400, 400] and report.in_images.sum() == 800
    asked = []
    monkeypatch.setattr(check.CheckReport, 'problems', property(lambda report: asked.append(1) or report.findings[:1]))
    at_fault, ordinary = page._chosen(dataset, report, 60)
    assert len(at_fault) == 1 and len(ordinary) == 6 and len(asked) == 1


def test_real_sets(shared_data):
    """Two boxes without area are all that is wrong with the blood cells; nothing is with the six VOC classes."""
    cells = specs.load(f'voc:{shared_data}/bccd/BCCD:val')
    report = check.check(cells._replace(records=cells.records[:20]), YOLOV3_ANCHORS.sizes, 416, 416, True)
    assert {one.kind for one in report.problems} <= {'annotation'} and report.boxes.sum() > 200


def test_json_for_programs(found, tmp_path, capsys):
    spec, dataset, report = found
    assert program.run([spec], options(program, '--json=-')) == 1
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert '7 problems' in printed.err
    assert list(result) == ['images', 'objects', 'class_names', 'problems']
    assert (result['images'], result['objects']) == (len(dataset.records), 14)
    assert result['class_names'] == dataset.class_names
    folder = spec.split(':')[1]
    where = [(os.path.relpath(one['file'], folder), one['line']) for one in result['problems']]
    # By the annotations as they were written: an object opens on line 4 and takes 5, so the outside ones are on 9, 14.
    assert where == [('ImageSets/Main/train.txt', 13), ('Annotations/outside.xml', 9),
                     ('Annotations/outside.xml', 14), ('JPEGImages/broken.png', None),
                     ('Annotations/wrong.xml', None), ('JPEGImages/copy.png', None), ('Annotations/doubled.xml', 14)]
    for one, finding in zip(result['problems'], report.problems):
        assert one['what'] and finding.text.endswith(one['what'])
    assert program.run([spec], options(program, f'--json={tmp_path}/r.json')) == 1
    assert json.loads((tmp_path / 'r.json').read_text()) == result
    assert '7 problems' in capsys.readouterr().out


@pytest.mark.parametrize('message, files, expected', [
    ('a/b.txt:3: no image x: y; line dropped', [], ('a/b.txt', 3, 'no image x: y; line dropped')),
    ('c.json: annotation 17: box (1, 2) has no area', [], ('c.json', 17, 'box (1, 2) has no area')),
    ('t.tfrecord: record 2 at byte 9: damaged', [], ('t.tfrecord', None, 'record 2 at byte 9: damaged')),
    ('voc:DIR:val: x.jpg is in voc:DIR:train already', [], ('voc:DIR:val', None, 'x.jpg is in voc:DIR:train already')),
    ('a: b.png: the file is empty', ['a: b.png'], ('a: b.png', None, 'the file is empty'))])
def test_messages_come_apart(message, files, expected):
    assert tuple(json_report.split(message, files).values()) == expected


@pytest.mark.parametrize('width, left', [(80, 2), (300, 0)])
def test_a_set_without_a_box_is_checked_too(tmp_path, capsys, width, left):
    """Two images without objects, or annotated with other proportions than theirs: the problems must be seen."""
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.zeros([60, 80, 3], np.uint8))
    (tmp_path / 'list.txt').write_text(f'0 a.png {width} 60\n1 b.png {width} 60\n')
    (tmp_path / 'classes.names').write_text('fish\n')
    assert program.run([f'list:{tmp_path}/list.txt'], options(program, f'--output={tmp_path}/out')) == 1
    out = capsys.readouterr().out
    assert 'none of the 2 images has a box' in out if left else 'no image is left' in out
    assert out.count('other proportions; image dropped') == 2 - left
    assert 'There is no box' in (tmp_path / 'out/index.html').read_text()
