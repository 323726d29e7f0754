"""The packages yolov3_tf and voc_annotations, and the command yolov3-tf; the scripts stay in the repository.

cv2 has two rival providers that overwrite each other's files, so neither is forced:
`pip install '.[headless]'` for servers (needs no libGL), `'.[desktop]'` for opencv-python,
plain `.` where one of them is installed already.

Ranges here say what the code runs with; requirements/*.lock say what it was tested with.
"""
import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).resolve().parent
# The one place of the version; read as text, for importing the package is not to be needed to build it.
VERSION = re.search(r"^__version__ = '([^']+)'", (ROOT / 'yolov3_tf/__init__.py').read_text(encoding='utf-8'), re.M)[1]
KERAS2 = 'python_version < "3.12"'

setup(
    name='yolov3_tf',
    version=VERSION,
    description='YOLOv3 object detection for TensorFlow 2 and Keras with IoU, GIoU and focal loss: train and serve',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author='The yolov3_tf authors',
    license='MIT',
    license_files=['LICENSE'],
    keywords='yolov3 object-detection tensorflow keras giou focal-loss darknet pascal-voc coco tflite onnx',
    project_urls={
        'YOLOv3 (paper)': 'https://arxiv.org/abs/1804.02767',
        'GIoU (paper)': 'https://arxiv.org/abs/1902.09630',
        'TensorFlow 1 implementation': 'https://github.com/wizyoung/YOLOv3_TensorFlow',
    },
    classifiers=[
        'Development Status :: 4 - Beta',
        'Intended Audience :: Developers',
        'Intended Audience :: Education',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        *[f'Programming Language :: Python :: 3.{minor}' for minor in range(9, 14)],
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    python_requires='>=3.9,<3.14',
    packages=find_packages(include=['yolov3_tf', 'yolov3_tf.*', 'voc_annotations', 'voc_annotations.*']),
    package_data={
        'yolov3_tf': ['py.typed'],
        'yolov3_tf.training.recipes': ['*.flags'],
        'yolov3_tf.experiments': ['tables/*.ini', 'protocols/*.flags'],
        'voc_annotations': ['voc.names'],
    },
    entry_points={'console_scripts': ['yolov3-tf = yolov3_tf.cli.program:main']},
    install_requires=[
        # What was tried (docs/INSTALL.md): pip takes the newest of a range. TensorFlow bounds NumPy by itself.
        'tensorflow>=2.15.1,<2.16; python_version < "3.10"',
        'tensorflow>=2.15.1,<2.21; python_version >= "3.10" and python_version < "3.12"',
        'tensorflow>=2.16.2,<2.22; python_version == "3.12"',
        'tensorflow>=2.21,<2.22; python_version > "3.12"',
        'numpy',
        'absl-py',
        'h5py',
        'matplotlib',
        'pycocotools',
        'tensorboard',
    ],
    extras_require={
        'headless': ['opencv-python-headless>=4.11,<4.12'],
        'desktop': ['opencv-python>=4.11,<4.12'],
        # ONNX files, written and run. onnx 1.19.0 cannot be imported beside the ml-dtypes of TensorFlow 2.15 to 2.17;
        # the last tf2onnx for Python 3.9 wants an older protobuf: there ONNX runs, but is not written.
        'onnx': ['onnxruntime', 'onnx!=1.19.0', 'tf2onnx>=1.17; python_version >= "3.10"'],
        # COCO's numbers in C++, used where it is installed: the same to 1e-16 (tests/evaluation/test_coco_backend.py).
        'fast-eval': ['faster-coco-eval>=1.6'],
        'dev': ['hypothesis', 'mypy', 'pytest', 'pytest-xdist', 'ruff', f'tensorflow-addons>=0.23; {KERAS2}'],
    },
)
