"""The search without a training: it improves, repeats, resumes, keeps its budget, and says what it found."""
import collections
import json
import math

import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.experiments import tuning, tuning_genes, tuning_runs
from yolov3_tf.experiments.tuning import Outcome, Result, Search
from yolov3_tf.experiments.tuning_genes import Genes
from yolov3_tf.training import recipe

BASE = recipe.make(train_data='shapes:12', full_epochs=(13, 5), full_lr=(1e-3, 1e-4), ema_decay=.99, box_weight=1.)
GENES = Genes({gene.name: gene for gene in tuning_genes.GENES if gene.name in ('full_lr', 'ema_decay', 'box_weight')},
              dict(full_lr=1e-3, ema_decay=.99, box_weight=1.), {})
BEST = dict(full_lr=3e-3, ema_decay=.997, box_weight=4.)
SECONDS, FOREVER = 10., 1e6


def train(number, candidate, limit):
    """A score of 1 at ``BEST``, and less with the squares of the distances of the logarithms."""
    distances = [math.log(candidate.full_lr[0] / BEST['full_lr']), math.log(candidate.box_weight / BEST['box_weight']),
                 math.log((1 - candidate.ema_decay) / (1 - BEST['ema_decay']))]
    return Outcome(math.exp(-sum(distance ** 2 for distance in distances) / 3), SECONDS)


def start(folder, seed=0, **changes):
    shown = []
    search = Search(folder, BASE, changes.pop('genes', GENES), seed, command='yolov3-tf tune --recipe=x --budget=1',
                    show=shown.append, **changes)
    search.shown = shown
    return search


def of(number, score, **values):
    return Result(number, None, {**GENES.start, **values}, score, SECONDS, '')


@pytest.mark.parametrize('seed', range(3))
def test_a_search_improves_a_quadratic(tmp_path, seed):
    """From .217, the score of the recipe; the best of 80 drawn at random between the bounds has .78 on average."""
    search = start(tmp_path, seed)
    assert search.run(train, FOREVER, 80) == '80 of 80 candidates are trained'
    assert search.results[0].values == GENES.start and search.results[0].parent is None
    assert search.results[0].score == pytest.approx(math.exp(-(math.log(3) ** 2 + math.log(4) ** 2
                                                               + math.log(1 / .3) ** 2) / 3))
    assert search.best.score > .9
    assert len({json.dumps(one.values) for one in search.results}) == 80


def test_candidates_depend_on_the_seed_and_the_earlier_results_alone(tmp_path):
    searches = [start(tmp_path / name, seed) for name, seed in (('a', 3), ('b', 3), ('c', 4))]
    for search in searches:
        search.run(train, FOREVER, 12)
    one, same, other = ([result.values for result in search.results] for search in searches)
    assert one == same and one[1:] != other[1:] and one[0] == other[0]
    worse = [one._replace(score=1 - one.score) for one in searches[0].results]
    assert tuning.propose(12, 3, GENES.genes, worse) != tuning.propose(12, 3, GENES.genes, searches[0].results)


def test_a_search_that_was_stopped_goes_on_like_one_that_was_not(tmp_path):
    """Stopped between two candidates, and by a kill in the middle of the seventh."""
    start(tmp_path / 'whole').run(train, FOREVER, 12)
    start(tmp_path / 'parts').run(train, FOREVER, 5)

    def killed(number, candidate, limit):
        if number == 7:
            raise KeyboardInterrupt
        assert number > 4
        return train(number, candidate, limit)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path / 'parts').run(killed, FOREVER, 12)
    last = start(tmp_path / 'parts')
    assert len(last.results) == 7
    last.run(train, FOREVER, 12)
    for name in ('results.jsonl', 'best.flags'):
        assert (tmp_path / 'parts' / name).read_bytes() == (tmp_path / 'whole' / name).read_bytes()
    assert {path.name for path in (tmp_path / 'parts').iterdir()} == {'results.jsonl', 'best.flags'}


def test_a_budget_is_kept_over_several_starts(tmp_path):
    """Candidates of 10 s: three in 35 s, for a fourth would end after 40; none more in 39 s, one more in 40."""
    assert 'no time for another candidate' in start(tmp_path).run(train, 35.)
    assert [len(start(tmp_path).results), start(tmp_path).run(train, 39.)[:10]] == [3, 'the budget']
    again = start(tmp_path)
    limits = []
    again.run(lambda number, candidate, limit: limits.append(limit) or train(number, candidate, limit), 40.)
    assert len(again.results) == 4 and limits == [pytest.approx(1.1 * 40 - 30)]


def test_the_first_candidate_begins_in_any_case_and_a_stop_in_its_middle_leaves_no_result(tmp_path):
    def late(number, candidate, limit):
        assert limit == pytest.approx(1.1 * 5)
        raise tuning.OutOfTime
    with pytest.raises(tuning.OutOfTime):
        start(tmp_path).run(late, 5.)
    assert start(tmp_path).results == []


def test_a_failed_candidate_has_no_score_and_its_time_is_not_expected_of_others(tmp_path):
    search = start(tmp_path)
    search.run(lambda number, candidate, limit: Outcome(0., 1., 'the loss is not finite') if number == 1
               else train(number, candidate, limit), 42.)
    assert [one.score > 0 for one in search.results] == [True, False, True, True, True]
    assert search.results[1].why == 'the loss is not finite' and search.expected() == SECONDS
    assert any('candidate 1: failed, the loss is not finite after 0:00:01' in text for text in search.shown)
    assert all(one.parent != 1 for one in search.results[2:])


def test_better_candidates_have_more_children_and_only_the_best_five_have_any():
    """Weights .4, .3, .2, .1 and (almost) 0 by the distance from the worst of the five."""
    scores = [.1, .2, .3, .4, .5, .6, .7]
    results = [of(number, score, box_weight=1 + number / 100) for number, score in enumerate(scores)]
    drawn = collections.Counter(tuning.propose(number, 0, GENES.genes, results)[0] for number in range(1000))
    assert [drawn[number] / 1000 for number in range(7)] == pytest.approx([0, 0, 0, .1, .2, .3, .4], abs=.05)
    equal = collections.Counter(tuning.propose(number, 0, GENES.genes, [of(0, 0.), of(1, 0., box_weight=2.)])[0]
                                for number in range(1000))
    assert equal[0] / 1000 == pytest.approx(.5, abs=.05)


def test_each_value_mutates_with_its_probability_and_spread():
    """Of 2,000 children .2^3 = .008 would be the parent again; they are drawn anew."""
    children = [tuning.propose(number, 1, GENES.genes, [of(0, .5)])[1] for number in range(2000)]
    for name in GENES.genes:
        assert sum(child[name] != GENES.start[name] for child in children) / 2000 == pytest.approx(.8 / .992, abs=.03)
    moved = [math.log(child['box_weight']) for child in children if child['box_weight'] != 1]
    assert sum(moved) / len(moved) == pytest.approx(0, abs=.02)
    assert math.sqrt(sum(one ** 2 for one in moved) / len(moved)) == pytest.approx(GENES.genes['box_weight'].spread,
                                                                                  rel=.05)


def test_a_search_ends_where_all_candidates_are_known(tmp_path):
    gene, = (gene for gene in tuning_genes.GENES if gene.name == 'warmup_epochs')
    genes = Genes(dict(warmup_epochs=gene._replace(highest=2)), dict(warmup_epochs=1.), {})
    search = start(tmp_path, genes=genes)
    assert 'is known already' in search.run(train, FOREVER, 9)
    assert [one.values['warmup_epochs'] for one in search.results] == [1., 2.]


def test_the_table_the_lines_and_the_recipe_of_the_best(tmp_path):
    search = start(tmp_path)
    for number in range(9):             # a run's checkpoints
        (tmp_path / tuning.name_of(number) / 'checkpoints').mkdir(parents=True)
    search.run(train, 90., 9)
    table = search.table().splitlines()
    others = [one for one in tuning.ranked(search.results) if one.number]
    assert table[0].split() == ['recipe', *(f'#{one.number}' for one in others[:5])]
    assert table[1].split()[:3] == ['mAP', '%', '21.74'] and table[2].split()[:2] == ['full_lr', '0.001']
    assert max(map(len, [*table, *(line for text in search.shown for line in text.splitlines())])) <= 79
    assert search.shown[0] == 'candidate 0: the recipe unchanged'
    assert search.shown[1] == 'candidate 0: mAP 21.74 % after 0:00:10; best 21.74 % (#0); 0:00:10 of 0:01:30'
    best = search.best
    assert f'(candidate {best.number} of {best.number + 1})' in (tmp_path / 'best.flags').read_text()
    text = search.write_best().read_text()
    for line in ('# Command:  yolov3-tf tune --recipe=x --budget=1', '# Data:     shapes:12, validated on shapes:12',
                 f'# Time:     0:00:10 (candidate {best.number} of 9)',
                 f'# Expected: mAP {100 * best.score:.2f} % with seed 0; the recipe unchanged has 21.74 %'):
        assert line in text.splitlines()
    found = recipe.make(**tuning_runs.flag_texts.read_recipe(str(tmp_path / 'best.flags')))
    assert found == tuning_genes.with_values(BASE, GENES.start, best.values)
    assert [path.parent.name for path in tmp_path.glob('*/checkpoints')] == [tuning.name_of(best.number)]


def test_the_folder_of_another_search_and_damaged_results_are_refused(tmp_path):
    start(tmp_path).run(train, FOREVER, 2)
    for changes, message in ((dict(seed=1), 'seed: 0 [(]now 1[)]'), (dict(measure='AP'), 'score: mAP [(]now AP[)]'),
                             (dict(genes=GENES._replace(start=dict(GENES.start, box_weight=2.))), 'bounds of box_w')):
        with pytest.raises(InputError, match=f'holds another search: .*{message}.*Choose another --output'):
            start(tmp_path, **changes)
    path = tmp_path / 'results.jsonl'
    whole = path.read_text()
    for text in ('', 'no JSON\n', whole.replace('"score": 0', '"scoer": 0'), whole[:-5], '[]\n'):
        path.write_text(text)
        with pytest.raises(InputError, match='results.jsonl: expected the results of a search'):
            start(tmp_path)
