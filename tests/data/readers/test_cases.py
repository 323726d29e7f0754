"""The small inputs of ../shared/cases, made as other programs write them; skipped where they are not there."""
import pathlib

import pytest

from yolov3_tf.data.readers import specs

CASES = pathlib.Path(__file__).resolve().parents[4] / 'shared' / 'cases'
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f'no {CASES}')
# spec below annotations -> classes, words of a note or '' for none
READ = {
    'coco:{}/coco_cat0/ann.json:{}/coco_cat0/images': ('fish', ''),
    'coco:{}/coco_no_size/ann.json:{}/coco_no_size/images': ('fish', 'taken from their files'),
    'coco:{}/coco_string_ids/ann.json:{}/coco_string_ids/images': ('fish', ''),
    'coco:{}/coco_segm_only/ann.json:{}/coco_segm_only/images': ('fish', ''),
    'coco:{}/coco_roboflow_same_name/ann.json:{}/coco_roboflow_same_name/images': ('trap', 'is left out'),
    'coco:{}/coco_windows_rel/ann.json:{}/coco_windows_rel': ('fish', 'with backslashes'),
    'voc:{}/voc_trailing_number:train': ('fish', ''), 'voc:{}/voc_upper_xml:train': ('fish', ''),
    'voc:{}/voc_list_with_ending:train': ('fish', 'with an ending'),
    'voc:{}/voc_case_names:train': ('Fish fish', 'differ only in letter case'), 'voc:{}/voc_gbk:train': ('鱼', ''),
    'darknet:{}/dk_cvat_yolo11/train.txt': ('fish', 'in another folder'),
    'darknet:{}/dk_cvat_yolo11/obj.data': ('fish', 'in another folder'), 'darknet:{}/dk_objdata/obj.data': ('fish', ''),
    'darknet:{}/dk_windows_list/train.txt': ('fish', 'with backslashes'),
    'darknet:{}/dk_name_labels/train.txt': ('fish', 'class by name'),
    'yolo:{}/y_names_wrapped/data.yaml:train': ('fish trap net', ''),
    'yolo:{}/y_backslash/data.yaml:train': ('fish', 'with backslashes'),
    'yolo:{}/y_valid_key/data.yaml:val': ('fish', ''), 'yolo:{}/y_webp/data.yaml:train': ('fish', '')}


@pytest.mark.parametrize('spec', READ)
def test_every_case_is_read_with_its_boxes(spec):
    names, note = READ[spec]
    dataset = specs.load(spec.replace('{}', str(CASES / 'annotations')), strict=True)
    assert dataset.class_names == names.split() and len(dataset.records) == 2 + ('trailing' in spec)
    for record in dataset.records:
        corner = (71, 61) if spec.startswith('voc') else (70, 60)
        assert record.boxes.round(1).tolist() == [[20, 20, *corner]] and (record.width, record.height) == (120, 90)
    assert [note in ' '.join(dataset.notes), bool(dataset.notes)] == [True, bool(note)]


def test_sets_that_were_resized_or_turned():
    resized = specs.load(f'list:{CASES}/training/resized/train.txt')
    assert resized.records[0].boxes.tolist() == [[54, 16, 134, 96]] and len(resized.problems) == 8
    turned = specs.load(f'list:{CASES}/training/turned/train.txt', strict=True)
    assert {(record.width, record.height, record.orientation) for record in turned.records} == {(90, 120, 6)}
