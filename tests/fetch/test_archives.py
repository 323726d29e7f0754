"""Archives of strangers: plain files into one folder, or nothing."""
import io
import pathlib
import stat
import tarfile
import zipfile

import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.fetch import archives


def tar_of(path, *members):
    """Members: (name, content), or a TarInfo."""
    with tarfile.open(path, 'w') as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(bytes(member.size)))
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return str(path)


def zip_of(path, *members):
    """Members: (name or ZipInfo, content)."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return str(path)


def special(name, kind, target=''):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_info(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in pathlib.Path(folder).rglob('*')
            if path.is_file()}


@pytest.mark.parametrize('make, folder', [(tar_of, special('set', tarfile.DIRTYPE)), (zip_of, ('set/', b''))])
def test_plain_files_are_unpacked(tmp_path, make, folder):
    path = make(tmp_path / 'a', folder, ('./set/a.txt', b'one'), ('set//b/c.txt', b'two'), ('other/d', b'3'))
    assert archives.unpack(path, str(tmp_path / 'all'), 100) == 3
    assert tree(tmp_path / 'all') == {'set/a.txt': b'one', 'set/b/c.txt': b'two', 'other/d': b'3'}
    assert archives.unpack(path, str(tmp_path / 'some'), 100, 'set/', r'.*\.txt|d') == 2
    assert tree(tmp_path / 'some') == {'a.txt': b'one', 'b/c.txt': b'two'}


PATHS = {
    '/tmp/evil': 'an absolute path', 'C:/evil': 'an absolute path', 'set/../../evil': r'a path with \.\.',
    'set\\..\\..\\evil': 'a path with a backslash', 'set/a\nb': 'a control character'}
EVIL = [
    *((make, (path, b'x'), message) for path, message in PATHS.items() for make in (tar_of, zip_of)),
    (tar_of, special('set/link', tarfile.SYMTYPE, '/etc'), 'a link'),
    (tar_of, special('set/link', tarfile.LNKTYPE, '../../evil'), 'a link'),
    (tar_of, special('set/null', tarfile.CHRTYPE), 'a device'),
    (tar_of, special('set/pipe', tarfile.FIFOTYPE), 'a device'),
    (zip_of, (zip_info('set/link', stat.S_IFLNK | 0o777), b'/etc'), 'a link'),
    (zip_of, (zip_info('set/pipe', stat.S_IFIFO | 0o666), b''), 'a device')]


@pytest.mark.parametrize('make, member, message', EVIL)
def test_an_evil_member_refuses_the_whole_archive(tmp_path, make, member, message):
    path = make(tmp_path / 'a', ('set/good', b'1'), member)
    with pytest.raises(InputError, match=f'expected plain files and folders, got .*{message}.*not unpacked'):
        archives.unpack(path, str(tmp_path / 'to'), 1000, 'set/')
    assert not (tmp_path / 'to').exists() and not (tmp_path / 'evil').exists()


def test_sizes_are_added_up_before_the_first_file(tmp_path, monkeypatch):
    big = tarfile.TarInfo('b')
    big.size = 10_000
    path = zip_of(tmp_path / 'a', ('a', b'x' * 60), ('b', b'x' * 41))
    for bomb in (path, tar_of(tmp_path / 't', ('a', b''), big)):
        with pytest.raises(InputError, match='expected at most 100 bytes in 1,000,000 files, got more'):
            archives.unpack(bomb, str(tmp_path / 'to'), 100)
    monkeypatch.setattr(archives, 'MOST_FILES', 1)
    with pytest.raises(InputError, match='in 1 files, got more'):
        archives.unpack(path, str(tmp_path / 'to'), 200)
    assert not (tmp_path / 'to').exists()


def test_damage_is_told(tmp_path):
    path = pathlib.Path(zip_of(tmp_path / 'a', ('a', bytes(1000)), ('b', b'2')))
    content = path.read_bytes()
    (tmp_path / 'cut').write_bytes(content[:len(content) // 2])
    (tmp_path / 'byte').write_bytes(content[:36] + bytes([content[36] ^ 255]) + content[37:])
    (tmp_path / 'text').write_bytes(b'<html>' * 200)
    whole = pathlib.Path(tar_of(tmp_path / 'tar', ('a', b'x' * 3000))).read_bytes()
    (tmp_path / 'cut_tar').write_bytes(whole[:1500])
    for name in ('cut', 'byte', 'text', 'cut_tar'):
        with pytest.raises(InputError, match='(expected a whole tar or zip|expected 3,000 bytes).*fetch it again'):
            archives.unpack(str(tmp_path / name), str(tmp_path / 'to'), 10_000)
    assert not tree(tmp_path / 'to')


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / 'set').write_text('')
    with pytest.raises(InputError, match='set/a: cannot be written'):
        archives.unpack(tar_of(tmp_path / 'a', ('set/a', b'1')), str(tmp_path), 100)
