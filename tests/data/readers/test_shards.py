"""TFRecord shards: Records there and back, images through the pipeline, other people's files, damage."""
import os

import cv2
import numpy as np
import pytest
import tensorflow as tf
from fixtures.program_flags import options
from fixtures.tf_examples import THEIRS, serialized

from yolov3_tf.cli import shards as program
from yolov3_tf.data import image_files, pipeline
from yolov3_tf.data.readers import coco, shards, voc
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import validation
from yolov3_tf.structures import Dataset, Record

FIELDS = 'boxes', 'classes', 'difficult', 'crowd', 'areas'


def draw_set(folder, count=5):
    """Images of 60 x 40 with number k in every pixel, k % 3 boxes each."""
    rng, records = np.random.default_rng(0), []
    for k in range(count):
        path = folder / f'p{k}.png'
        cv2.imwrite(str(path), np.full([40, 60, 3], 10 * k, np.uint8))
        near = rng.uniform(0, 20, [k % 3, 2]).astype(np.float32)
        boxes = np.concatenate([near, near + np.float32(9.3)], axis=1)
        records.append(Record(str(path), f'id{k}', 60, 40, boxes, np.arange(k % 3, dtype=np.int32),
                              np.arange(k % 3) == 0, np.zeros(k % 3, bool), boxes[:, 0] + 1))
    return Dataset(records, ['a', 'b', 'ü'], [])


def assert_same_records(one, other):
    assert one.class_names == other.class_names and len(one.records) == len(other.records)
    for ours, theirs in zip(one.records, other.records):
        assert ours[1:4] == theirs[1:4]
        for name in FIELDS:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype


def test_real_sets_read_back_equal_from_several_shards(shared_data, tmp_path):
    tiny = shared_data / 'coco_tiny'
    for name, dataset in {
            'voc': voc.read(str(shared_data / 'voc_six/VOCdevkit'), '2012_val'),
            'coco': coco.read(str(tiny / 'annotations/instances_val2017.json'), str(tiny / 'images/val2017'))}.items():
        dataset = dataset._replace(records=dataset.records[:20])
        written = shards.write(dataset, f'{tmp_path}/{name}/x', 3)
        assert len(written.paths) == 3 and not written.left_out
        assert_same_records(dataset, shards.read(written.pattern))


def test_the_pipeline_makes_the_same_batches(tmp_path):
    files = draw_set(tmp_path)
    packed = shards.read(shards.write(files, f'{tmp_path}/x', 2).pattern)
    mixed = files._replace(records=files.records[:2] + packed.records[2:])
    settings = pipeline.PipelineSettings(2, (64,), augment=('flip',), threads=2)
    expected, *others = [list(pipeline.training_batches(one, settings, 0).take(4).as_numpy_iterator())
                         for one in (files, packed, mixed)]
    for found in others:
        tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
    whole = list(pipeline.evaluation_batches(packed, 64, 64, True, 2).as_numpy_iterator())
    assert [int(image[32, 32, 0]) for batch in whole for image in batch.images] == [0, 10, 20, 30, 40]
    image, _, index = pipeline.reproduce(packed, settings, 0, 0, 1)
    assert int(index) == expected[0][2][1] and np.abs(image.numpy().astype(int) - expected[0][0][1]).max() <= 1
    assert (image_files.read_image(packed.records[3].image_path) == 30).all()


def test_a_damaged_image_is_left_out_of_its_batch_and_named(tmp_path):
    dataset = shards.read(shards.write(draw_set(tmp_path), f'{tmp_path}/x', 1).pattern)
    location = image_files.location_of(dataset.records[2].image_path)
    content = bytearray((tmp_path / 'x-00000-of-00001.tfrecord').read_bytes())
    content[location.offset + 60] ^= 1
    (tmp_path / 'x-00000-of-00001.tfrecord').write_bytes(content)
    found = list(pipeline.evaluation_batches(dataset, 64, 64, True, 8).as_numpy_iterator())
    assert found[0].indices.tolist() == [0, 1, 3, 4]
    assert 'cannot be read (corrupted record' in pipeline.reason(dataset.records[2].image_path)
    again = shards.read(f'{tmp_path}/x-*.tfrecord')
    assert len(again.records) == 2
    assert f'record 2 at byte {location.offset}: damaged, or no uncompressed TFRecord' in again.problems[0]
    (tmp_path / 'x-00000-of-00001.tfrecord').unlink()
    assert 'there is no such file' in pipeline.reason(dataset.records[2].image_path)


def write_examples(path, *examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example if isinstance(example, bytes) else serialized(example))
    return str(path)


UNLABELLED = {key: value for key, value in THEIRS.items() if 'class/text' not in key}


def test_files_of_the_object_detection_api(tmp_path):
    path = write_examples(tmp_path / 'a.record', THEIRS, THEIRS, {key: THEIRS[key] for key in list(THEIRS)[:3]})
    dataset = shards.read(path)
    np.testing.assert_array_equal(dataset.records[0].boxes, [[30, 10, 60, 20], [0, 20, 15, 40]])
    assert [dataset.class_names[index] for index in dataset.records[0].classes] == ['dog', 'cat']
    assert [record.image_id for record in dataset.records] == ['x', 'a-1', 'a-2']
    assert dataset.records[2].boxes.shape == (0, 4) and not dataset.problems


def test_class_ids_without_names_need_names(tmp_path):
    path = write_examples(tmp_path / 'a.record', UNLABELLED)
    assert shards.read(path, ['cat', 'dog']).records[0].classes.tolist() == [1, 0]
    with pytest.raises(InputError, match='record 0: class id 2, but no class names are known'):
        shards.read(path)
    with pytest.raises(InputError, match='class id 2, but there are 1 class names'):
        shards.read(path, ['cat'])
    (tmp_path / 'classes.names').write_text('cat\ndog\n')
    assert shards.read(path).class_names == ['cat', 'dog']
    with pytest.raises(InputError, match="unknown class 'dog'"):
        shards.read(write_examples(tmp_path / 'b.record', THEIRS), ['cat'])


@pytest.mark.parametrize('change, message', [
    ({'image/encoded': [b'']}, 'no image under image/encoded'), ({'image/width': [-1]}, 'expected image/width'),
    ({'image/width': [1.5]}, 'expected image/width'), ({'image/object/bbox/ymin': [.1]}, 'expected 2 numbers under'),
    ({'image/object/class/text': [b'dog']}, 'expected 2 class names or class ids, got 1 and'),
    ({'image/object/class/text': [b'dog', b'\xff']}, 'expected UTF-8 text'),
    ({'image/object/difficult': [1]}, 'expected 2 marks'), ({'image/width': [0]}, 'fractions of the image, but its'),
    ({shards.PIXELS: [1., 2., 3.]}, 'expected four numbers an object'), (b'\x00\xff', 'not a tf.train.Example')])
def test_a_bad_record_is_dropped_and_reported(tmp_path, change, message):
    bad = change if isinstance(change, bytes) else {**THEIRS, **change}
    path = write_examples(tmp_path / 'a.record', THEIRS, bad)
    dataset = shards.read(path)
    assert len(dataset.records) == 1 and len(dataset.problems) == 1
    assert dataset.problems[0].startswith(f'{path}: record 1: ') and message in dataset.problems[0]
    with pytest.raises(InputError, match='record 1: .*--strict'):
        shards.read(path, strict=True)


def test_a_bad_box_is_repaired_or_dropped(tmp_path):
    path = write_examples(tmp_path / 'a.record', {**THEIRS, 'image/object/bbox/xmax': [1.5, float('nan')]})
    dataset = shards.read(path)
    np.testing.assert_array_equal(dataset.records[0].boxes, [[30, 10, 60, 20]])
    assert 'object 1: box (30, 10, 90, 20) reaches outside' in dataset.problems[0] and len(dataset.problems) == 2


def test_files_that_are_no_shards(tmp_path):
    with pytest.raises(InputError, match='no such files; expected TFRecord shards'):
        shards.read(f'{tmp_path}/*.tfrecord')
    (tmp_path / 'text.tfrecord').write_text('hello ' * 20)
    with tf.io.TFRecordWriter(str(tmp_path / 'zip.tfrecord'), 'GZIP') as writer:
        writer.write(b'x' * 1000)
    with pytest.raises(InputError, match='no usable record in 2 files; .*record 0 at byte 0: damaged, or ') as raised:
        shards.read(f'{tmp_path}/*.tfrecord')
    assert '{{' not in str(raised.value) and 'write the shard again' in str(raised.value)
    (tmp_path / 'empty.tfrecord').touch()
    with pytest.raises(InputError, match='no usable record in 3 files; .*empty.tfrecord: the file is empty: copy'):
        shards.read(f'{tmp_path}/*.tfrecord')


def checked(data):
    """A number of a TFRecord's frame with its check sum, CRC-32C, rotated and shifted as the format has it."""
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0x82f63b78 * (value & 1)
    value ^= 0xffffffff
    return data + (((value >> 15 | value << 17) + 0xa282ead8) & 0xffffffff).to_bytes(4, 'little')


@pytest.mark.parametrize('length', [1 << 60, (1 << 64) - 1, (1 << 64) - 16, 1 << 29, 10_000])
def test_a_record_longer_than_its_file_takes_no_memory(tmp_path, length):
    """TensorFlow ends the process where the length is absurd and its check sum is right."""
    path = shards.write(draw_set(tmp_path), f'{tmp_path}/s', 1).paths[0]
    size = os.path.getsize(path)
    with open(path, 'ab') as file:
        file.write(checked(length.to_bytes(8, 'little')) + b'contents')
    found = shards.read(path)
    assert len(found.records) == 5 and f'record 5 at byte {size}: damaged, or no' in found.problems[0]
    os.truncate(path, size + 5)
    assert f'record 5 at byte {size}' in shards.read(path).problems[0]


def test_a_record_of_the_right_check_sum_is_read(tmp_path):
    """The sums of the test above are those of TensorFlow."""
    contents = b'contents'
    frame = checked(len(contents).to_bytes(8, 'little')) + contents + checked(contents)[-4:]
    (tmp_path / 'a.tfrecord').write_bytes(frame)
    assert list(tf.data.TFRecordDataset(str(tmp_path / 'a.tfrecord')).as_numpy_iterator()) == [contents]


def test_shards_that_are_not_there_are_named(tmp_path):
    written = shards.write(draw_set(tmp_path), f'{tmp_path}/x', 9)
    assert [path[-24:] for path in written.paths] == [f'-0000{k}-of-00005.tfrecord' for k in range(5)]     # none empty
    assert not shards.read(written.pattern).problems
    for number in (1, 3):
        (tmp_path / f'x-0000{number}-of-00005.tfrecord').unlink()
    problem, = shards.read(written.pattern).problems
    assert problem == (f'{tmp_path}/x-*-of-00005: 2 of 5 shards are not there (number 1, 3): copy them here; their '
                       'images are left out')
    with pytest.raises(InputError, match='2 of 5 shards'):
        shards.read(written.pattern, strict=True)
    assert not shards.read(written.paths[0]).problems           # named alone, so meant alone


def test_writing_overwrites_nothing_and_leaves_out_what_cannot_be_used(tmp_path):
    dataset = draw_set(tmp_path)
    (tmp_path / 'p1.png').write_bytes(b'no image')
    written = shards.write(dataset, f'{tmp_path}/new/x', 2)
    assert len(written.left_out) == 1 and 'p1.png: expected a JPEG' in written.left_out[0]
    assert len(shards.read(written.pattern).records) == 4
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == [
        'classes.names', 'x-00000-of-00002.tfrecord', 'x-00001-of-00002.tfrecord']
    for prefix, names, message in [('new/x', 'abü', 'is there already'), ('new/y', 'abc', 'with other class names'),
                                ('new/', 'abü', 'the start of the shards'), ('p0.png/x', 'abü', 'cannot be')]:
        with pytest.raises(InputError, match=message):
            shards.write(dataset._replace(class_names=list(names)), f'{tmp_path}/{prefix}')


@pytest.mark.parametrize('stray', [1, 70_000])      # what headers passes over, and more
def test_a_jpeg_with_bytes_between_its_segments_is_written(tmp_path, stray):
    image = np.random.default_rng(0).integers(0, 255, [40, 60, 3], np.uint8)
    jpeg = cv2.imencode('.jpg', image)[1].tobytes()
    end = 4 + int.from_bytes(jpeg[4:6], 'big')
    (tmp_path / 'p1.jpg').write_bytes(jpeg[:end] + bytes(stray) + jpeg[end:])
    dataset = draw_set(tmp_path, 3)
    dataset.records[1] = dataset.records[1]._replace(image_path=str(tmp_path / 'p1.jpg'), width=0, height=0)
    written = shards.write(dataset, f'{tmp_path}/x', 1)
    assert not written.left_out
    record = shards.read(written.pattern).records[1]
    assert (record.width, record.height) == (60, 40)
    example = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(written.paths).skip(1))).numpy())
    assert example.features.feature['image/format'].bytes_list.value == [b'jpeg']


def test_a_name_that_is_not_text_is_reported(tmp_path):
    try:
        open(os.fsencode(tmp_path) + b'/caf\xe9.tfrecord', 'wb').close()
    except OSError:
        pytest.skip('this disk takes no such name')
    with pytest.raises(InputError, match='not UTF-8: rename it'):
        shards.read(f'{tmp_path}/*.tfrecord')


def test_the_program(tmp_path, capsys):
    draw_set(tmp_path, 2)
    (tmp_path / 'a.txt').write_text('0 p0.png 60 40 0 1 1 5 5\n1 p1.png 60 40\n2 gone.png 5 5\n')
    chosen = options(program, f'--output={tmp_path}/out/x')
    assert program.run([f'list:{tmp_path}/a.txt'], chosen) == 0
    captured = capsys.readouterr()
    assert f'1 shards with 2 images\nspec     tfrecord:{tmp_path}/out/x-*.tfrecord' in captured.out
    assert 'gone.png' in captured.err
    with pytest.raises(InputError, match='expected one data spec'):
        program.run([], chosen)


def test_a_detector_is_given_the_images_own_bytes(tmp_path):
    class Detector:
        def detect(self, contents, image_ids):
            return [(image_ids[0], bytes(contents[0]))]
    files = draw_set(tmp_path, 3)
    packed = shards.read(shards.write(files, f'{tmp_path}/x', 1).pattern)
    detections, skipped = validation.detect_each(Detector(), packed)
    assert detections == [(f'id{k}', (tmp_path / f'p{k}.png').read_bytes()) for k in range(3)] and not skipped
