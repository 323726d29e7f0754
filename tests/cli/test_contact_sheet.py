"""A contact sheet shows the images that the network gets."""
import cv2
import numpy as np
import pytest
from fixtures.program_flags import options

from yolov3_tf.cli import contact_sheet
from yolov3_tf.errors import InputError


def test_a_sheet_of_the_pipelines_own_images(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full([40, 60, 3], 200, np.uint8))
    cv2.imwrite(str(tmp_path / 'b.png'), np.full([40, 60, 3], 100, np.uint8))
    (tmp_path / 'l.txt').write_text('0 a.png 60 40 0 10 10 50 30\n1 b.png 60 40\n')
    chosen = options(contact_sheet, f'--output={tmp_path}/sheet.png', '--augment=mixup,flip', '--images=5',
                     '--columns=3', '--image_size=96')
    assert contact_sheet.run([f'list:{tmp_path}/l.txt'], chosen) == 0
    assert '5 images, 296 x 198' in capsys.readouterr().out       # 3 x (96 + 2) + 2 wide, 2 x (96 + 2) + 2 high
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    levels = {int(sheet[2 + 98 * row + 75, 2 + 98 * column + 2, 0]) for row in (0, 1) for column in (0, 1, 2)}
    assert sheet.shape == (198, 296, 3) and {100, 200} & levels and any(100 < level < 200 for level in levels)


@pytest.mark.parametrize('arguments, flags, said', [
    ([], [], 'expected one data spec'), (['shapes'], ['--output=sheet.jpg'], 'and --output=FILE.png'),
    (['shapes'], ['--output=s.png', '--augment=colr'], "unknown augmentation 'colr'"),
    (['shapes'], ['--output=s.png', '--image_size=100'], 'multiples of 32')])
def test_what_cannot_be_drawn(arguments, flags, said):
    with pytest.raises(InputError, match=said):
        contact_sheet.run(arguments, options(contact_sheet, *flags))
