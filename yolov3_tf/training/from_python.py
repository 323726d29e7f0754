"""Training from Python: ``yolov3_tf.train``."""
from __future__ import annotations

from typing import Any

from yolov3_tf.training import flag_texts, own_folder, run
from yolov3_tf.training import recipe as recipes
from yolov3_tf.training.run import Run


def train_with(train_data: str | None = None, val_data: str | None = None, recipe: str | None = None,
               **settings: Any) -> Run:
    """Trains a detector with the defaults of the ``train`` command; it is also ``yolov3_tf.train``.

        run = train_with('mine', minutes=20.)
        run = train_with('voc:mine:train', 'voc:mine:val', loss='giou', focal=True, ignore_thresh=.45)

    Args:
      train_data, val_data: labelled folders or data specs, see docs/DATA.md.
      recipe: name or path of a recipe, whose settings ``settings`` override; without one, a folder takes 'fast'
        (``own_folder``) and everything else the defaults.
      settings: any fields of ``Recipe``.

    Raises:
      InputError: a setting is unknown, or settings, data or files cannot be used.
      Interrupted, NonFiniteLoss, PeerLost: see ``run.train``.
    """
    for name in settings:
        recipes.check_name(name)
    given = {name: value for name, value in (('train_data', train_data), ('val_data', val_data)) if value is not None}
    given.update(settings)
    if recipe is not None:
        return run.train(recipes.make(**own_folder.replace_data(flag_texts.read_recipe(recipe), given)))
    completed = own_folder.complete(given)
    if completed.message:
        print(completed.message)
    return run.train(recipes.make(**completed.settings))
