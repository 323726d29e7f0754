"""Whatever bytes an image file holds, it comes as pixels or is left out and named; its batch goes on.

``make test-slow`` damages ten thousand; memory is bounded by TensorFlow's own limit on an image's size.
"""
import os
import resource
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from yolov3_tf.data import pipeline
from yolov3_tf.structures import Dataset, Record

SIZE = 32
KINDS = ('.jpg', '.png', '.bmp', '.gif')
PEAK_MIB = 2048         # above what was taken before the first: TensorFlow refuses 2^29 pixels and more


def samples():
    """Ending -> valid images of that kind: colour, grey, alpha, 16 bits, progressive, as far as the kind has them."""
    colour = np.random.RandomState(0).randint(0, 256, [24, 40, 3]).astype(np.uint8)
    grey, alpha = colour[..., 0], np.dstack([colour, colour[..., 0]])
    made = {'.jpg': [(colour,), (grey,), (colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])],
            '.png': [(colour,), (grey,), (alpha,), (grey.astype(np.uint16) * 257,)], '.bmp': [(colour,), (grey,)]}
    found = {ending: [cv2.imencode(ending, *arguments)[1].tobytes() for arguments in several]
             for ending, several in made.items()}
    # 2 x 2 pixels of a palette of four: cv2 writes no GIF before 4.11.
    palette = bytes(range(12))
    found['.gif'] = [b'GIF89a\x02\x00\x02\x00\x81\x00\x00' + palette
                     + b',\x00\x00\x00\x00\x02\x00\x02\x00\x00\x02\x03\x44\x34\x05\x00;']
    return found


def damage(contents, chance):
    """The contents with bytes changed, cut, doubled, or numbers in them made huge."""
    contents = bytearray(contents)
    for _ in range(chance.randint(1, 5)):
        # Half of the damage falls on the header, where the sizes stand.
        whole = max(len(contents), 1)
        at = chance.randint(min(40, whole) if chance.rand() < .5 else whole)
        kind = chance.randint(5)
        if kind == 0:
            contents[at:at + 1] = bytes([chance.randint(256)])
        elif kind == 1:
            contents[at:at + 4] = b'\xff' * 4
        elif kind == 2:
            del contents[at:at + chance.randint(1, 30)]
        elif kind == 3:
            contents[at:at] = contents[at:at + chance.randint(1, 30)]
        else:
            del contents[at + 1:]
    return bytes(contents) or b'\0'


def fuzz(folder, count):
    """Returns (images made, of which came as pixels, largest memory in MiB above the start, seconds)."""
    chance, records = np.random.RandomState(0), []
    found = samples()
    box, no = np.array([[1, 1, 20, 20]], np.float32), np.zeros(1, bool)
    for number in range(count):
        ending = KINDS[number % len(KINDS)]
        several = found[ending]
        path = os.path.join(folder, f'{number}{ending}')
        with open(path, 'wb') as file:
            file.write(damage(several[chance.randint(len(several))], chance))
        records.append(Record(path, str(number), 40, 24, box, np.zeros(1, np.int32), no, no, np.full(1, 361.)))
    dataset = Dataset(records, ['a'], [])
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    came = set()
    for batch in pipeline.evaluation_batches(dataset, SIZE, SIZE, True, 50):
        assert batch.images.shape[1:] == (SIZE, SIZE, 3) and np.isfinite(batch.truth.boxes).all()
        came |= set(batch.indices.numpy().tolist())
    trained = 0
    settings = pipeline.PipelineSettings(50, (SIZE,))
    for images, truth, indices in pipeline.training_batches(dataset, settings, 0).take(count // 50):
        assert len(images) == len(indices) and np.isfinite(truth.boxes).all()
        trained += len(indices)     # of a JPEG damaged at its end, the part before it may serve
    for index in sorted(set(range(count)) - came)[::10]:
        why = pipeline.reason(records[index].image_path)
        assert why.startswith(records[index].image_path) and '\n' not in why and len(why) < 1000
        assert 'can be read now' not in why, why
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return count, len(came), trained, peak, time.monotonic() - began


def test_the_undamaged_images_are_read(tmp_path):
    found = samples()
    records = []
    for ending in KINDS:
        for number, contents in enumerate(found[ending]):
            path = tmp_path / f'{number}{ending}'
            path.write_bytes(contents)
            none = np.zeros(0, bool)
            records.append(Record(str(path), path.name, 40, 24, np.zeros([0, 4], np.float32), np.zeros(0, np.int32),
                                  none, none, np.zeros(0)))
    batch, = pipeline.evaluation_batches(Dataset(records, ['a'], []), SIZE, SIZE, True, 50)
    assert len(batch.indices) == len(records) == 10


def test_damaged_images(tmp_path):
    count, came, trained, _, _ = fuzz(tmp_path, 400)
    assert 20 < came < count - 100 and trained > 10


@pytest.mark.slow
def test_ten_thousand_damaged_images(tmp_path):
    """In a process of its own, whose peak of memory nothing else has raised before."""
    done = subprocess.run([sys.executable, __file__, str(tmp_path), '10000'], capture_output=True, text=True,
                          check=False, env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))))
    assert done.returncode == 0, done.stderr
    print(f'\n{done.stdout}')
    assert float(done.stdout.split()[-2]) < PEAK_MIB


if __name__ == '__main__':
    images_made, usable, shown, mib, seconds = fuzz(sys.argv[1], int(sys.argv[2]))
    print(f'{images_made:,} damaged images, {usable:,} still usable, {shown:,} trained on; {seconds:.0f} s; '
          f'memory at the most {mib:.0f} MiB')
