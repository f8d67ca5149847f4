"""The accuracy of VQA v2's released evaluation, a second time: written from what that code does.

It answers for GT-Vision-Lab/VQA at a4f1afd, which came out with VQA v2 in 2017, and `revised` for
a013f00 of 2021. Nothing here is shared with `msdkit`, the list of contractions included.
"""

from __future__ import annotations

from collections.abc import Sequence

# What is written without an apostrophe, and how it is meant; of lower-case words alone
PAIRS = """
aint ain't arent aren't cant can't couldve could've couldnt couldn't couldn'tve couldn't've
couldnt've couldn't've didnt didn't doesnt doesn't dont don't hadnt hadn't hadnt've hadn't've
hadn'tve hadn't've hasnt hasn't havent haven't hed he'd hed've he'd've he'dve he'd've hes he's
howd how'd howll how'll hows how's isnt isn't itd it'd itd've it'd've it'dve it'd've itll it'll
maam ma'am mightnt mightn't mightnt've mightn't've mightn'tve mightn't've mightve might've mustnt
mustn't mustve must've neednt needn't notve not've oclock o'clock oughtnt oughtn't ow's'at
'ow's'at 'ows'at 'ow's'at 'ow'sat 'ow's'at shant shan't shed've she'd've she'dve she'd've shouldve
should've shouldnt shouldn't shouldnt've shouldn't've shouldn'tve shouldn't've somebody'd
somebodyd somebodyd've somebody'd've somebody'dve somebody'd've somebodyll somebody'll somebodys
somebody's someoned someone'd someoned've someone'd've someone'dve someone'd've someonell
someone'll someones someone's somethingd something'd somethingd've something'd've something'dve
something'd've somethingll something'll thats that's thered there'd thered've there'd've there'dve
there'd've therere there're theres there's theyd they'd theyd've they'd've they'dve they'd've
theyll they'll theyre they're theyve they've twas 'twas wasnt wasn't wed've we'd've we'dve we'd've
weve we've werent weren't whatll what'll whatre what're whats what's whatve what've whens when's
whered where'd wheres where's whereve where've whod who'd whod've who'd've who'dve who'd've wholl
who'll whos who's whove who've whyll why'll whyre why're whys why's wont won't wouldve would've
wouldnt wouldn't wouldnt've wouldn't've wouldn'tve wouldn't've yall y'all yall'll y'all'll y'allll
y'all'll yall'd've y'all'd've y'alld've y'all'd've y'all'dve y'all'd've youd you'd youd've
you'd've you'dve you'd've youll you'll youre you're youve you've
"""
MEANT = dict(zip(PAIRS.split()[::2], PAIRS.split()[1::2], strict=True))
DIGITS = {"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5"}
DIGITS |= {"six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"}
PERIODS = 32  # as many go at most: a flag of the pattern stands where the count belongs


def accuracy(answer: str, answers: Sequence[str]) -> float:
    """0 to 1: the model's answer takes all steps always; the people's punctuation goes where any
    two of them differ, and nothing else of theirs is touched."""
    people = list(answers)
    if any(other != people[0] for other in people):
        people = [unpunctuated(other) for other in people]
    return mean_without_each(in_words(unpunctuated(spaced(answer))), people)


def revised(answer: str, answers: Sequence[str]) -> float:
    """0 to 1: both sides take all steps where any two of the people differ, else neither does."""
    answer, people = spaced(answer), [spaced(other) for other in answers]
    if any(other != people[0] for other in people):
        answer, *people = (in_words(unpunctuated(text)) for text in (answer, *people))
    return mean_without_each(answer, people)


def mean_without_each(answer: str, people: Sequence[str]) -> float:
    """Of the people without one of them, three who agree make 1; the mean over who is left out."""
    total = 0.0
    for out in range(len(people)):
        agree = sum(other == answer for i, other in enumerate(people) if i != out)
        total += 1.0 if agree >= 3 else agree / 3
    return total / len(people)


def spaced(text: str) -> str:
    """Tabs and line feeds are spaces; none stand at the ends."""
    return text.translate({9: " ", 10: " "}).strip()


def unpunctuated(text: str) -> str:
    """Each mark goes if it stands beside a space anywhere, and all do in a text with 1,000 or the
    like; else spaces take its place. Then periods go that no digit follows."""
    number = any(
        mark == "," and text[i - 1].isdecimal() and text[i + 1].isdecimal()
        for i, mark in enumerate(text[:-1])
        if i
    )
    kept = text
    for mark in ';/[]"{}()=+\\_-><@`,?!':
        beside = number or mark + " " in text or " " + mark in text
        kept = ("" if beside else " ").join(kept.split(mark))
    first, *rest = kept.split(".")
    left, found = PERIODS, first
    for part in rest:
        goes = left > 0 and not part[:1].isdecimal()
        found += part if goes else "." + part
        left -= goes
    return found


def in_words(text: str) -> str:
    """Lower case, digits for number words, no articles, and apostrophes where they are missing."""
    words = [DIGITS.get(word, word) for word in text.lower().split()]
    return " ".join(MEANT.get(word, word) for word in words if word not in ("a", "an", "the"))
