"""The settings of a training on a folder: the fast recipe, flags over it, and the best weights at hand."""
import pathlib

import pytest
from fixtures import labelled_folders as made
from fixtures import small_checkpoint
from fixtures.program_flags import options

from yolov3_tf.cli import train
from yolov3_tf.errors import InputError
from yolov3_tf.models.darknet import pretrained
from yolov3_tf.training import flag_texts, from_python, own_folder, plan, recipe, recipe_check, run_data
from yolov3_tf.training import recipe as recipes

FAST = flag_texts.read_recipe('fast')


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a labelled folder ``my data``."""
    monkeypatch.chdir(tmp_path)
    made.images(tmp_path / 'my data', '{}.jpg', range(6))
    made.texts(tmp_path / 'my data', '{}.xml', range(6), made.xml_of)
    return tmp_path


def read(arguments, *flags):
    return train.recipe_of(options(train, *flags), arguments)


def test_a_folder_takes_the_fast_recipe_and_flags_go_before_it(here, capsys):
    for asked in (read(['my data']), read([], '--train_data=my data')):
        assert asked == recipe.make(**{**FAST, 'train_data': 'my data'})
    assert set(capsys.readouterr().out.splitlines()) == {
        'recipe: fast, for a folder of your own (--recipe=NAME for another); weights: random, none in weights/ fit'}
    asked = read(['my data'], '--loss=giou', '--focal', '--ignore_thresh=0.45', '--batch_size=2')
    assert asked == recipe.make(**{**FAST, 'train_data': 'my data', 'loss': 'giou', 'focal': True,
                                   'ignore_thresh': .45, 'batch_size': 2})
    recipe_check.check(asked)
    assert plan.name_of(asked, False) == 'my_data-giou-focal-ignore0.45'


@pytest.mark.parametrize('flags', [['--cfg=a.cfg'], ['--train_sizes=64,96'], ['--init_weights=a.h5'], ['--val_size=64'],
                                   ['--backbone_weights=imagenet', '--width_multiplier=1'], ['--minutes=5']])
def test_what_is_given_never_contradicts_the_recipe(here, flags):
    recipe_check.check_contradictions(read(['my data'], *flags))


def test_other_data_and_named_recipes_stay_as_they_are(here, capsys):
    (here / 'VOCdevkit').mkdir()
    sentence = read([], '--loss=giou', '--focal', '--ignore_thresh=0.45')
    assert sentence == recipes.DEFAULTS._replace(loss='giou', focal=True, ignore_thresh=.45)
    assert read([], '--train_data=xml:my data') == recipes.DEFAULTS._replace(train_data='xml:my data')
    nano = read([], '--recipe=nano')
    assert nano.val_data and read(['my data'], '--recipe=nano') == nano._replace(train_data='my data', val_data=None)
    assert read([], '--recipe=nano', '--train_data=xml:my data') == nano._replace(train_data='xml:my data')
    assert capsys.readouterr().out == ''


def test_from_python_a_folder_is_the_same(here, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr('yolov3_tf.training.run.train', asked.append)
    from_python.train_with('my data', loss='giou')
    from_python.train_with(here / 'my data', val_data='xml:my data')
    from_python.train_with('my data', recipe='nano', seed=3)
    from_python.train_with('xml:my data', 'xml:my data', seed=3)
    assert asked == [read(['my data'], '--loss=giou'), read([str(here / 'my data')], '--val_data=xml:my data'),
                     read(['my data'], '--recipe=nano', '--seed=3'),
                     recipes.DEFAULTS._replace(train_data='xml:my data', val_data='xml:my data', seed=3)]
    with pytest.raises(InputError, match="unknown setting 'losss'"):
        from_python.train_with('my data', losss='giou')


def test_run_flags_repeat_a_run_on_a_folder_with_another_recipe(here):
    asked = read(['my data'], '--recipe=paper')
    (here / 'run.flags').write_text(''.join(f'--{name}={text}\n' for name, text in flag_texts.texts_of(asked).items()))
    assert read([], '--flagfile=run.flags') == read([], '--recipe=run.flags') == asked


@pytest.mark.parametrize('words, flags, message', [
    (['a', 'b'], [], 'expected one folder to train on, got a and b'),
    (['a'], ['--train_data=b'], 'got a and --train_data=b'), (['loss=giou'], [], 'a setting is a flag, --loss=giou')])
def test_a_wrong_word_is_refused(here, words, flags, message):
    with pytest.raises(InputError, match=message):
        read(words, *flags)


def sparse(path, size):
    """A file of that size that takes no space."""
    path.parent.mkdir(exist_ok=True)
    with open(path, 'wb') as file:
        file.truncate(size)


def test_the_best_weights_that_fit(here):
    size = {name: one.size for name, one in pretrained.PUBLISHED.items()}
    chosen = own_folder.complete({'train_data': 'my data'})
    assert chosen.settings['backbone_weights'] == 'none'
    sparse(here / 'weights' / pretrained.BACKBONE, size[pretrained.BACKBONE])
    sparse(here / 'weights/yolov3.weights', 1000)                       # cut off
    chosen = own_folder.complete({'train_data': 'my data'})
    assert chosen.settings['backbone_weights'] == 'none'
    assert 'weights/darknet53.conv.74 fits --width_multiplier=1' in chosen.message
    wide = {'train_data': 'my data', 'width_multiplier': 1.}
    assert own_folder.complete(wide).settings['backbone_weights'] == 'weights/darknet53.conv.74'
    sparse(here / 'weights/yolov3.weights', size['yolov3.weights'])
    chosen = own_folder.complete(wide)
    assert chosen.settings['init_weights'] == 'weights/yolov3.weights' and 'backbone_weights' not in chosen.settings
    recipe_check.check_contradictions(recipe.make(**chosen.settings))
    assert own_folder.complete({**wide, 'backbone_weights': 'none'}).settings['backbone_weights'] == 'none'


def test_a_checkpoint_of_the_same_width_gives_its_backbone(here):
    (here / 'weights').mkdir()
    (here / 'weights/broken.h5').write_text('no checkpoint')
    small_checkpoint.save(here / 'weights/small.h5', ['a'], (64, 64))
    width = own_folder.checkpoints.describe('weights/small.h5').width_multiplier
    config = own_folder.checkpoints.describe('weights/small.h5')
    chosen = own_folder.complete({'train_data': 'my data', 'width_multiplier': width})
    assert chosen.settings['backbone_weights'] == ('none' if config.cfg else 'weights/small.h5')


def test_a_run_that_goes_on_keeps_the_weights_it_began_with(here):
    asked = recipe.make(**own_folder.complete({'train_data': 'my data'}).settings)
    folder = run_data.folder_of(asked)
    folder.last.parent.mkdir(parents=True)
    folder.last.touch()
    folder.flags.write_text('--backbone_weights=elsewhere.h5\n')
    chosen = own_folder.complete({'train_data': 'my data'})
    assert chosen.settings['backbone_weights'] == 'elsewhere.h5' and 'as this run began' in chosen.message


def loaded(capsys, **settings):
    data = run_data.load(recipe.make(**settings))
    return data, capsys.readouterr()


def paths(dataset):
    return [pathlib.Path(record.image_path).name for record in dataset.records]


def test_a_folder_without_parts_is_split(here, capsys):
    data, printed = loaded(capsys, train_data='my data', val_fraction=.5, name='a')
    assert len(data.train.records) == len(data.val.records) == 3 and not set(paths(data.train)) & set(paths(data.val))
    assert printed.out.splitlines() == [
        "data: my data is VOC XML, without a validation part; its spec is '--train_data=xml:my data'",
        'xml:my data: 6 images, 6 boxes; 2 classes: cat, dog',
        'split: 3 images to train on, 3 of 6 to validate on, drawn by --val_fraction=0.5 and --seed=0; '
        'list:runs/a/split/val.txt']
    assert not (here / 'runs').exists()                 # nothing is written before the run has its folder
    other, _ = loaded(capsys, train_data='my data', val_fraction=.5, name='a', seed=3)
    assert paths(other.val) != paths(data.val)
    again, _ = loaded(capsys, train_data='xml:my data', val_fraction=.5, name='a')
    assert paths(again.val) == paths(data.val)


def test_a_run_that_goes_on_keeps_its_split_whatever_has_changed(here, capsys):
    data, _ = loaded(capsys, train_data='my data', val_fraction=.5, name='a')
    folder = run_data.folder_of(recipe.make(name='a'))
    data.keep(folder.split)
    again, _ = loaded(capsys, train_data='my data', val_fraction=.5, name='a', seed=3)
    assert paths(again.val) != paths(data.val)          # without a checkpoint nothing has been trained on it
    folder.last.parent.mkdir(parents=True)
    folder.last.touch()
    made.images(here / 'my data', '{}.jpg', [6])
    made.texts(here / 'my data', '{}.xml', [6], lambda number: made.xml_of(number).replace('cat', 'ant'))
    again, printed = loaded(capsys, train_data='my data', val_fraction=.2, name='a', seed=3)
    assert paths(again.val) == paths(data.val) and paths(again.train) == paths(data.train)
    assert again.val.class_names == data.val.class_names and again.drawn is None
    assert 'as this run drew them before' in printed.out
    assert 'my data/6.jpg came after the split in runs/a/split was drawn, and is not used' in printed.err


def test_validation_data_that_are_given_win(here, capsys):
    data, _ = loaded(capsys, train_data='my data', val_data='my data', val_fraction=.5, name='a')
    assert len(data.train.records) == len(data.val.records) == 6 and data.drawn is None
    made.images(here / 'parts', 'valid/{}.jpg', [7, 8])
    made.texts(here / 'parts', 'valid/{}.xml', [7, 8], made.xml_of)
    made.images(here / 'parts', 'train/{}.jpg', range(4))
    made.texts(here / 'parts', 'train/{}.xml', range(4), made.xml_of)
    data, printed = loaded(capsys, train_data='parts', name='a')
    assert paths(data.val) == ['7.jpg', '8.jpg'] and len(data.train.records) == 4
    assert 'xml:parts/train --val_data=xml:parts/valid' in printed.out
    data, printed = loaded(capsys, train_data='parts, my data', name='a')
    assert paths(data.val) == ['7.jpg', '8.jpg'] and len(data.train.records) == 10
    data, _ = loaded(capsys, train_data='my data', val_data='parts', name='a')
    assert paths(data.val) == ['7.jpg', '8.jpg'] and len(data.train.records) == 6


def test_classes_without_validation_images_are_named(here, capsys):
    made.texts(here / 'my data', '{}.xml', [3], lambda number: made.xml_of(number).replace('dog', 'cow'))
    _, printed = loaded(capsys, train_data='my data', name='a')
    assert 'note: too few images to validate these classes: cow' in printed.err


def test_data_without_a_box_or_with_one_image_stop(here):
    made.texts(here / 'none', '{}.xml', [0], lambda number: f'<annotation>{made.SIZE}</annotation>')
    made.images(here / 'none', '{}.jpg', [0])
    with pytest.raises(InputError, match='xml:none: none of its 1 images has a box to train on'):
        run_data.load(recipe.make(train_data='none'))
    made.texts(here / 'none', '{}.xml', [0], made.xml_of)
    with pytest.raises(InputError, match='a validation part cannot be drawn: 1 images, of which 1 has boxes'):
        run_data.load(recipe.make(train_data='none'))
