"""Images read upright and written, by what OpenCV and the standard of EXIF say."""
import struct

import cv2
import numpy as np
import pytest

from yolov3_tf import image_headers, rgb_images
from yolov3_tf.errors import InputError

RED, BLUE = (0, 0, 255), (255, 0, 0)        # as OpenCV writes colours


def turned_jpeg(path, orientation):
    """A JPEG of 80 x 60, its left half red, with this EXIF orientation."""
    image = np.full([60, 80, 3], BLUE, np.uint8)
    image[:, :40] = RED
    encoded = cv2.imencode('.jpg', image)[1].tobytes()
    directory = struct.pack('<HHHIHHI', 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b'Exif\x00\x00' + b'II*\x00' + struct.pack('<I', 8) + directory
    path.write_bytes(encoded[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + encoded[2:])
    return str(path)


def test_images_are_read_upright_in_rgb(tmp_path):
    plain = rgb_images.read(turned_jpeg(tmp_path / 'plain.jpg', 1))
    assert plain.shape == (60, 80, 3) and plain[30, 10, 0] > 200 > 50 > plain[30, 10, 2]
    # 6: the camera was held on its side; the left of what is stored is the top of what was seen.
    turned = rgb_images.read(turned_jpeg(tmp_path / 'turned.jpg', 6))
    assert turned.shape == (80, 60, 3)
    assert turned[10, 30, 0] > 200 > 50 > turned[10, 30, 2] and turned[70, 30, 2] > 200 > 50 > turned[70, 30, 0]


def test_grey_alpha_and_sixteen_bit_images_become_rgb_of_eight_bits(tmp_path):
    for name, image in (('grey.png', np.full([5, 7], 90, np.uint8)), ('alpha.png', np.full([5, 7, 4], 90, np.uint8)),
                        ('deep.png', np.full([5, 7, 3], 90 * 257, np.uint16))):
        cv2.imwrite(str(tmp_path / name), image)
        read = rgb_images.read(str(tmp_path / name))
        assert read.dtype == np.uint8 and read.shape == (5, 7, 3) and (read == 90).all(), name


def test_bytes_are_decoded_as_files_are(tmp_path):
    path = turned_jpeg(tmp_path / 'turned.jpg', 6)
    with open(path, 'rb') as file:
        content = file.read()
    assert (rgb_images.decode(content) == rgb_images.read(path)).all()
    with pytest.raises(InputError, match='encoded image: not an image, or a damaged one .40 bytes.'):
        rgb_images.decode(content[:40])
    with pytest.raises(InputError, match='gone.jpg: cannot be read: No such file'):
        rgb_images.read(tmp_path / 'gone.jpg')


def test_an_existing_file_is_only_replaced_when_asked(tmp_path):
    image = np.random.RandomState(0).randint(0, 255, [9, 11, 3]).astype(np.uint8)
    rgb_images.write(tmp_path / 'a.png', image)
    assert (rgb_images.read(tmp_path / 'a.png') == image).all()
    with pytest.raises(InputError, match='a.png exists'):
        rgb_images.write(tmp_path / 'a.png', 255 - image)
    assert (rgb_images.read(tmp_path / 'a.png') == image).all()
    rgb_images.write(tmp_path / 'a.png', 255 - image, overwrite=True)
    assert (rgb_images.read(tmp_path / 'a.png') == 255 - image).all()
    for name in ('a.docx', 'a'):
        with pytest.raises(InputError, match=f'{name}: expected a name that ends with an image format'):
            rgb_images.write(tmp_path / name, image)


@pytest.mark.parametrize('ending', ['.jpg', '.png', '.bmp', '.webp', '.tiff'])
def test_a_header_that_claims_gigapixels_is_refused_before_memory_is_taken(tmp_path, ending, monkeypatch):
    """24000 x 24000 x 3 bytes are 1.7 GB; OpenCV takes them before it finds that the pixels are missing."""
    asked = []
    monkeypatch.setattr(cv2, 'imdecode', lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(image_headers, 'of_bytes', lambda content: image_headers.Header('PNG', 24000, 24000, 3, 8))
    path = tmp_path / f'large{ending}'
    path.write_bytes(b'\x89PNG' + bytes(700))
    with pytest.raises(InputError, match='claims 24000 x 24000 pixels, which 704 bytes cannot hold'):
        rgb_images.read(path)
    assert not asked
