"""A program that reads one dataset takes it as a word or as --data, and not twice."""
import pytest
from fixtures.program_flags import options

from yolov3_tf.cli import anchors, check, contact_sheet, data_spec, shards
from yolov3_tf.errors import InputError


@pytest.mark.parametrize('program', [anchors, check, contact_sheet, shards])
def test_the_word_and_the_flag_mean_the_same(program):
    assert data_spec.given(['shapes:12'], options(program), 'usage') == 'shapes:12'
    assert data_spec.given([], options(program, '--data=shapes:12'), 'usage') == 'shapes:12'


@pytest.mark.parametrize('words, flags, said', [
    ([], [], 'got none: usage'), (['a', 'b'], [], 'got a and b: usage'), (['a'], ['--data=b'], 'got a and b: usage')])
def test_none_and_two_are_refused_with_the_usage(words, flags, said):
    with pytest.raises(InputError, match=f'expected one data spec, {said}'):
        data_spec.given(words, options(check, *flags), 'usage')
