"""Every rule speaks where its numbers say so, and is silent just before."""
import pytest

from yolov3_tf.run_report import advice
from yolov3_tf.run_report.advice import Facts

RISING = (.1, .2, .3, .4, .5, .6, .7, .8, .82, .84, .86, .88)
FLAT = (.1, .5, .8, .8, .81, .8, .81, .8, .81)
# rule: what it answers to, and what leaves it silent
CASES = {
    advice.problems: (Facts(problems=3), Facts(), 'repaired: 3'),
    advice.few_to_train: (Facts(trained={'ant': 49, 'bee': 50, 'cow': 2}), Facts(trained={'ant': 50}),
                          'learn from: cow (2), ant (49).'),
    advice.few_to_validate: (Facts(validated={'ant': 19, 'bee': 20}), Facts(validated={'ant': 20}), 'ant (19)'),
    advice.small_boxes: (Facts(small=.1, image_size=416), Facts(small=.09), 'now 416: try 832'),
    advice.still_improving: (Facts(scores=RISING), Facts(scores=FLAT), 'rose by 6.0 points over the last 4 validat'),
    advice.hardly_begun: (Facts(scores=(.03, .08)), Facts(scores=(.03, .0799)),
                          'mAP rose by 5.0 points up to the last of 2'),
    advice.not_learnt: (Facts(found={'ant': .0099, 'bee': .3}), Facts(found={'ant': .01, 'bee': .3}),
                        'Not learnt yet: ant (AP under 1).'),
    advice.over_fitting: (Facts(val_losses=(9, 5, 5.4, 5.6), train_losses=(9, 6, 5, 4)),
                          Facts(val_losses=(9, 5, 5.4, 5.4), train_losses=(9, 6, 5, 4)), '1.1 times its lowest'),
    advice.low_threshold: (Facts(operating_score=.0999), Facts(operating_score=.1), '(0.0999)'),
    advice.worst_errors: (Facts(costs={'missed': .02, 'duplicate': .03}), Facts(costs={'missed': .029}),
                          '3.0 points of AP are lost by duplicate errors'),
    advice.many_in_the_background: (Facts(costs={'background': .03, 'missed': .1}),
                                    Facts(costs={'background': .03, 'missed': .01}), 'Background errors cost 3.0')}


def test_every_rule_has_a_case():
    assert set(CASES) == set(advice.RULES)


@pytest.mark.parametrize('rule', CASES, ids=lambda rule: rule.__name__)
def test_a_rule_speaks_and_is_silent(rule):
    speaks, silent, text = CASES[rule]
    assert text in rule(speaks) and rule(silent) == '' and rule(Facts()) == ''
    assert text in '\n'.join(advice.advise(speaks)) and rule(speaks).endswith('.')


@pytest.mark.parametrize('facts', [
    Facts(scores=RISING[:3]), Facts(scores=(.5, .1, .2, .3, .4)), Facts(scores=RISING[::-1]),
    Facts(scores=(*RISING[:8], .9, .82, .85, .88, .89))])
def test_too_few_validations_or_an_earlier_best_do_not_mean_train_longer(facts):
    assert advice.still_improving(facts) == ''


@pytest.mark.parametrize('facts', [
    Facts(val_losses=(5, 9, 9), train_losses=(9, 5, 4)), Facts(val_losses=(9, 8, 7, 6), train_losses=(9, 8, 7, 6)),
    Facts(val_losses=(5, 6, 7, 8), train_losses=(5, 6, 7, 8)), Facts(val_losses=(5, 9, 9, 9))])
def test_losses_that_are_few_or_fall_or_rise_together_are_no_over_fitting(facts):
    assert advice.over_fitting(facts) == ''


def test_the_most_frequent_confusion_is_named_and_long_lists_are_cut():
    text = advice.worst_errors(Facts(costs={'classification': .2}, confused=(('ant', 'bee', 7), ('bee', 'ant', 2))))
    assert text.endswith('The most frequent mistake: ant taken for bee (7 times).')
    assert advice.few_to_train(Facts(trained={f'c{k}': k for k in range(20)})).count('(') == advice.MOST_NAMES + 1


def test_a_leap_counts_in_short_runs_only_and_no_class_learnt_is_no_advice_about_classes():
    for scores in ((.1,), (.1, .2, .3, .4), (.5, .1, .52), (.1, .2, .2)):
        assert advice.hardly_begun(Facts(scores=scores)) == ''
    assert advice.not_learnt(Facts(found={'ant': 0., 'bee': .001})) == ''


def test_no_advice_for_what_the_run_has_already():
    for loss, said in (('giou', True), ('', True), ('ciou', False)):
        assert ('--loss=ciou' in advice.worst_errors(Facts(costs={'localisation': .2}, loss=loss))) is said


def test_every_kind_of_error_has_a_remedy_and_silence_is_said():
    from yolov3_tf.evaluation import errors
    assert set(advice.REMEDIES) == set(errors.KINDS)
    assert advice.advise(Facts())[0].startswith('Nothing stands out.')
