"""The packages yolov3_tf and voc_annotations; the scripts stay in the repository (README).

cv2 has two rival providers that overwrite each other's files, so neither is forced:
`pip install '.[headless]'` for servers (needs no libGL), `'.[desktop]'` for opencv-python,
plain `.` where one of them is installed already.

Ranges here say what the code runs with; requirements/*.lock say what it was tested with.
"""
from setuptools import find_packages, setup

KERAS2 = 'python_version < "3.12"'
KERAS3 = 'python_version >= "3.12"'

setup(
    name='yolov3_tf',
    version='0.1.0',
    config='YOLOv3 in TensorFlow 2: train, measure, export, in two commands',
    license='MIT',
    python_requires='>=3.9,<3.14',
    packages=find_packages(include=['yolov3_tf', 'yolov3_tf.*', 'voc_annotations', 'voc_annotations.*']),
    package_data={'': ['*.names', '*.flags', '*.ini', 'py.typed']},
    entry_points={'console_scripts': ['yolov3-tf = yolov3_tf.cli.program:main']},
    install_requires=[
        f'tensorflow>=2.15.1,<2.16; {KERAS2}',
        f'tensorflow>=2.21,<2.22; {KERAS3}',
        f'numpy<2; {KERAS2}',
        f'numpy; {KERAS3}',
        'absl-py',
        'h5py',
        'matplotlib',
        'pycocotools',
        'tensorboard',
    ],
    extras_require={
        'headless': ['opencv-python-headless>=4.11,<4.12'],
        'desktop': ['opencv-python>=4.11,<4.12'],
        # export_saved_model.py --format=onnx, and running such files. The newest onnx wants a newer ml-dtypes than
        # TensorFlow 2.15; the last tf2onnx for Python 3.9 wants an older protobuf: there ONNX runs, but is not written.
        'onnx': ['onnxruntime', f'onnx<1.19; {KERAS2}', f'onnx; {KERAS3}', 'tf2onnx>=1.17; python_version >= "3.10"'],
        'dev': ['hypothesis', 'pytest', 'pytest-xdist', 'ruff', f'tensorflow-addons>=0.23; {KERAS2}'],
    },
)
