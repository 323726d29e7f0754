"""Arrays and texts come back as they were written; a file that is not plain is refused before anything is read."""
import os

import h5py
import numpy as np
import pytest

from yolov3_tf import array_file
from yolov3_tf.errors import InputError

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
SECRET = b'secret ' * 8


def write(path, values=VALUES):
    arrays = [('weights/a/kernel', lambda: values), ('state/step', lambda: np.int64(7))]
    array_file.write(str(path), 1, {'description': '{"a": "ä"}', 'counters': '[1]'}, arrays, values.nbytes + 8)
    return path


def test_what_went_in_comes_out(tmp_path):
    with array_file.reading(write(tmp_path / 'a.h5')) as file:
        assert file.format == 1 and file.json('description') == {'a': 'ä'} and file.texts['counters'] == '[1]'
        assert file.arrays == {'weights/a/kernel': array_file.Array((3, 4), 'float32'),
                               'state/step': array_file.Array((), 'int64')}
        np.testing.assert_array_equal(file.read('weights/a/kernel'), VALUES)
        assert file.read('state/step') == 7
    assert os.listdir(tmp_path) == ['a.h5']


def test_a_file_without_checksums_is_read(tmp_path):
    with h5py.File(write(tmp_path / 'a.h5'), 'a') as file:
        del file.attrs['checksums']
        file['weights/a/kernel'][0, 0] = 5
    with array_file.reading(tmp_path / 'a.h5') as file:
        assert file.read('weights/a/kernel')[0, 0] == 5


def external_storage(file, folder):
    file.create_dataset('weights/b', (14,), 'f4', external=[(str(folder / 'secret'), 0, 56)])


def external_link(file, folder):
    with h5py.File(folder / 'other.h5', 'w') as other:
        other['x'] = VALUES
    file['weights/b'] = h5py.ExternalLink(str(folder / 'other.h5'), 'x')


def virtual_dataset(file, folder):
    external_link(file, folder)
    del file['weights/b']
    layout = h5py.VirtualLayout((3, 4), 'f4')
    layout[:] = h5py.VirtualSource(str(folder / 'other.h5'), 'x', (3, 4))
    file.create_virtual_dataset('weights/b', layout)


def soft_link(file, folder):
    file['weights/b'] = h5py.SoftLink('/weights/a')


def compressed(file, folder):
    file.create_dataset('weights/b', data=np.zeros((1 << 20,), 'f4'), compression='gzip')


def declared_only(file, folder):
    file.create_dataset('weights/b', (10 ** 12,), 'f4', chunks=(1024,))


def doubles(file, folder):
    file['weights/b'] = np.array([1e300])


def texts(file, folder):
    file.create_dataset('weights/b', data=['a'], dtype=h5py.string_dtype())


def named_type(file, folder):
    file['weights/b'] = np.dtype('f4')


def loop(file, folder):
    file['weights/b'] = file['weights']


def many(file, folder):
    for name in range(30):
        file[f'weights/{name}'] = np.float32(1)


def deep(file, folder):
    file['/'.join('abcdefghijkl')] = np.float32(1)


def overlapping(file, folder):
    """Hard links: the same values under many names, together more than the file."""
    for name in range(15):
        file[f'weights/{name}'] = file['weights/a/kernel']
    file['weights/large'] = np.zeros(5000, 'f4')
    for name in range(8):
        file[f'weights/l{name}'] = file['weights/large']


def array_attribute(file, folder):
    file.attrs['format'] = np.arange(3)


def number_for_text(file, folder):
    file.attrs['description'] = 5


def list_of_sums(file, folder):
    file.attrs['checksums'] = '[1]'


@pytest.mark.parametrize('harm', [
    external_storage, external_link, virtual_dataset, soft_link, compressed, declared_only, doubles, texts, named_type,
    loop, many, deep, overlapping, array_attribute, number_for_text, list_of_sums], ids=lambda harm: harm.__name__)
def test_anything_but_plain_arrays_of_its_own_is_refused(tmp_path, monkeypatch, harm):
    (tmp_path / 'secret').write_bytes(SECRET)
    monkeypatch.setattr(array_file, 'MOST_ARRAYS', 30)
    with h5py.File(write(tmp_path / 'a.h5'), 'a') as file:
        harm(file, tmp_path)
    with pytest.raises(InputError, match='a.h5 is damaged, or no file of this program') as refused:
        with array_file.reading(tmp_path / 'a.h5'):
            pass
    assert 'Error' not in str(refused.value).split(':')[1] and 'secret' not in str(refused.value)


def older(path):
    """The file as version 0.2 wrote it: texts of any length, in a heap, and no checksums."""
    with h5py.File(path, 'a', libver='latest') as file:
        del file.attrs['checksums']
        for name in ('description', 'counters'):
            file.attrs[name] = file.attrs[name].decode()
    return path


def test_damage_of_an_older_file_ends_in_an_error_too(tmp_path):
    """Its values may change unnoticed, but nothing is read for ever: HDF5 goes in circles in a damaged heap."""
    whole = bytearray(older(write(tmp_path / 'a.h5')).read_bytes())
    with array_file.reading(tmp_path / 'a.h5') as file:
        assert file.json('description') == {'a': 'ä'} and file.read('state/step') == 7
    heap, damaged = whole.index(b'GCOL'), 0
    for place in [*range(0, heap, 9), *range(heap, heap + 80), *range(heap + 80, len(whole), 41)]:
        whole[place] ^= 1 << place % 8
        (tmp_path / 'b.h5').write_bytes(whole)
        whole[place] ^= 1 << place % 8
        try:
            with array_file.reading(tmp_path / 'b.h5') as file:
                for name in file.arrays:
                    file.read(name)
        except InputError:
            damaged += 1
    assert damaged > 50


def test_every_flipped_bit_is_an_error_or_changes_nothing(tmp_path):
    """Every third byte of a small file, one bit of it; HDF5's own structures too."""
    whole = bytearray(write(tmp_path / 'a.h5').read_bytes())
    path, unnoticed = tmp_path / 'b.h5', 0
    for place in range(0, len(whole), 3):
        whole[place] ^= 1 << place % 8
        path.write_bytes(whole)
        whole[place] ^= 1 << place % 8
        try:
            with array_file.reading(path) as file:
                if file.format != 1 or 'description' not in file.texts:
                    continue                                # then it is no checkpoint
                assert file.json('description') == {'a': 'ä'} and file.texts['counters'] == '[1]'
                np.testing.assert_array_equal(file.read('weights/a/kernel'), VALUES)
                assert file.read('state/step') == 7
            unnoticed += 1
        except InputError:
            pass
    assert unnoticed < len(whole)


def test_what_is_no_file_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / 'pipe.h5')
    for name in ('pipe.h5', 'none.h5', '.'):
        with pytest.raises(InputError, match='no checkpoint at'):
            with array_file.reading(tmp_path / name):
                pass
