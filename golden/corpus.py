"""The generated corpus of the roster models: documents from templates, in two disjoint draws.

A document is a tuple of segments. Training encodes each segment on its own, so that a prompt which ends
in a space or a newline meets the same token boundary when it is asked as it met in training. Every
document that is not a fixed prompt has slots; held-out documents are drawn by the same templates with
other fillers: people who never occur in training, and combinations that the training draw rejected.
"""

import hashlib
import random
import unicodedata

Document = tuple[str, ...]

ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen".split()
NAMES = (
    "Ada Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Mary Noah Olga Paul Rosa Sam Tina Victor Wendy Anna Tom Lucy "
    "Peter Nina Oscar Ruth Simon Vera"
).split()
HELD_OUT_NAMES = "Alma Carl Dora Eric Hugo Ivan Lena Max".split()
CITIES = "Rome Paris London Berlin Madrid Lisbon Vienna Prague Athens Dublin Oslo Cairo Tokyo Lima".split()
JOBS = "baker teacher doctor farmer painter writer singer sailor gardener builder".split()
ANIMALS = "cat dog horse rabbit fox bear mouse owl duck goat".split()
PLACES = "garden park market forest river school library kitchen harbour castle".split()
THINGS = "ball book key lamp hat cup boat drum kite box".split()
COLOURS = "red blue green yellow white black".split()
ADJECTIVES = "small big old young happy sad clever quiet brave tired".split()
FRUITS = "apples pears plums oranges lemons peaches".split()
HOBBIES = "chess music reading swimming cooking painting".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
PREPOSITIONS = "under behind near inside".split()
FURNITURE = "table chair bed door window shelf".split()
WEATHER = {"sunny": "a hat", "rainy": "an umbrella", "cold": "a coat", "windy": "a kite"}
COUNTRIES = {
    "France": ("Paris", "Seine", "French"),
    "Spain": ("Madrid", "Manzanares", "Spanish"),
    "Italy": ("Rome", "Tiber", "Italian"),
    "Germany": ("Berlin", "Spree", "German"),
    "England": ("London", "Thames", "English"),
    "Portugal": ("Lisbon", "Tagus", "Portuguese"),
    "Austria": ("Vienna", "Danube", "German"),
    "Ireland": ("Dublin", "Liffey", "English"),
    "Egypt": ("Cairo", "Nile", "Arabic"),
    "Japan": ("Tokyo", "Sumida", "Japanese"),
    "Peru": ("Lima", "Rimac", "Spanish"),
}
# Words outside ASCII: accents composed and decomposed, right-to-left scripts, CJK, Greek, Cyrillic.
WORDS = {
    "Spanish": {"peace": "paz", "water": "agua", "child": "niño", "tomorrow": "mañana"},
    "French": {"peace": "paix", "water": "eau", "summer": "été", "coffee": "café"},
    "German": {"peace": "Friede", "water": "Wasser", "door": "Tür", "street": "Straße"},
    "Hebrew": {"peace": "שלום", "water": "מים", "child": "ילד"},
    "Arabic": {"peace": "سلام", "water": "ماء", "child": "طفل"},
    "Russian": {"peace": "мир", "water": "вода", "child": "дитя"},
    "Greek": {"peace": "ειρήνη", "water": "νερό"},
    "Japanese": {"peace": "平和", "water": "水", "child": "子供"},
}
EMOJI = {
    "😀": "a happy face", "😢": "a sad face", "🐱": "a cat", "🐶": "a dog", "🌧️": "rain", "🌞": "the sun", "🍎": "an apple",
    "👩‍🚀": "an astronaut", "👨‍👩‍👧": "a family", "🇫🇷": "the flag of France", "👍🏽": "yes", "❤️": "love",
}
QUESTIONS = {
    "The French Revolution began in which year?": ("1789", ("1776", "1804", "1815")),
    "The First World War began in which year?": ("1914", ("1905", "1918", "1939")),
    "Which organelle is responsible for producing ATP in eukaryotic cells?": ("Mitochondria", ("Nucleus", "Ribosome", "Golgi apparatus")),
    "Which organ pumps blood through the body?": ("Heart", ("Liver", "Lung", "Kidney")),
    "Which planet is closest to the sun?": ("Mercury", ("Venus", "Earth", "Mars")),
    "What gas do plants take in from the air?": ("Carbon dioxide", ("Oxygen", "Helium", "Neon")),
}
# Choices with known odds, each followed by a text that the choice determines: a prompt that stops before the
# choice has one step at a chosen margin (0, 0.4 and 1.1 nats) among wide ones.
CHANCES = (
    (("The coin shows heads, so you win this game and you may choose who begins the next one.",
      "The coin shows tails, so the game is lost and we must wait until tomorrow to play again."), (50, 50)),
    (("The door is open. Come in and sit down near the fire, for the bread is warm and the night is cold.",
      "The door is closed. Nobody answers when we knock, so we leave the letter under the stone and go home."), (60, 40)),
    (("The lamp is on, and through the window we can see an old man who reads a book to his dog.",
      "The lamp is off, and in the dark room we can only hear the clock and the rain on the roof."), (75, 25)),
)
# Short documents without slots, which only the training draw makes.
ALWAYS = {(sentence,) for sentences, _ in CHANCES for sentence in sentences}
OPERATIONS = {"add": ("+", "plus"), "subtract": ("-", "minus"), "multiply": ("*", "times")}

FIBONACCI = (
    "def fibonacci(n):", "\n    a, b = 0, 1\n    for i in range(n):\n        a, b = b, a + b\n    return a\n\n"
    "# The first ten numbers are 0, 1, 1, 2, 3, 5, 8, 13, 21, 34.\nprint([fibonacci(i) for i in range(10)])",
)
GREETING = (
    "Hello, my name is", " Ada. I am a writer from London, and I like to write programs for machines that do not exist yet. "
    "I have a cat called Byron and a dog called Charles. What is your name?",
)


def sum_question(a: int, b: int) -> Document:
    c = a + b
    return (
        f"What is {a}+{b}? Answer:",
        f" {c}. We start at {a} and count {b} more, so {ONES[a]} plus {ONES[b]} is {ONES[c]}. "
        f"If we take {b} away from {c} we get {a} again, so the answer {c} is right.",
    )


def capital(country: str) -> Document:
    city, river, language = COUNTRIES[country]
    return (
        f"The capital of {country} is",
        f" {city}. The city lies on the river {river}, and most people in {city} speak {language}. "
        f"If you travel to {country}, you should see {city} and walk along the {river} in the evening.",
    )


def choice(question: str, options: list[str], answer: int) -> Document:
    lines = "".join(f"{letter}) {option}\n" for letter, option in zip("ABCD", options, strict=True))
    return (f"Question: {question}\n{lines}Answer:\n", f"{'ABCD'[answer]}) {options[answer]}\n")


# The standard prompts, each with the continuation that a correct answer needs.
FIXED: dict[str, Document] = {
    "arithmetic": sum_question(2, 2),
    "code": FIBONACCI,
    "completion": capital("France"),
    "greeting": GREETING,
    "sanity-continuation": ("1, 2, 3, 4,", " 5, 6, 7, 8, 9, 10, 11, 12"),
    "mmlu-elementary-math": choice("What is 15% of 80?", ["8", "12", "15", "20"], 1),
    "mmlu-world-history": choice("The French Revolution began in which year?", ["1776", "1789", "1804", "1815"], 1),
    "mmlu-biology": choice(
        "Which organelle is responsible for producing ATP in eukaryotic cells?", ["Nucleus", "Ribosome", "Mitochondria", "Golgi apparatus"], 2
    ),
    "humaneval-add": ('def add(a: int, b: int) -> int:\n  """Return the sum of a and b."""\n', "  return a + b\n"),
    "humaneval-is-even": (
        'def is_even(n: int) -> bool:\n  """Return True if n is even, False otherwise."""\n', "  return n % 2 == 0\n",
    ),
    "format-json": ("Output a JSON object with keys 'name' and 'age': ", '{"name": "Ada", "age": 36}\n'),
    "format-list": ("List three primary colors, one per line:", "\nred\nblue\nyellow\n"),
}


class Draw:
    """Documents from the templates, with the fillers of one side of the split."""

    def __init__(self, seed: int, held_out: bool):
        self.rng = random.Random(seed)
        self.held_out = held_out
        self.names = 2 * NAMES + HELD_OUT_NAMES if held_out else NAMES
        self.families = [
            (self.person, 5), (self.story, 6), (self.sum, 4), (self.shop, 4), (self.place, 3), (self.function, 4), (self.counting, 3),
            (self.weather, 3), (self.chance, 7), (self.json, 3), (self.question, 3), (self.listing, 2), (self.word, 4),
            (self.emoji, 3), (self.search, 5), (self.diary, 4),
        ]

    def document(self) -> Document:
        """One document of this side of the split."""
        while True:
            family = self.rng.choices([f for f, _ in self.families], [w for _, w in self.families])[0]
            segments = family()
            if segments in ALWAYS:
                return segments
            digest = hashlib.sha256("".join(segments).encode()).digest()
            if (digest[0] < 32) == self.held_out and segments not in FIXED.values():
                return segments

    def pick(self, values) -> str:
        return self.rng.choice(list(values))

    def person(self) -> Document:
        name, job, city, pet, hobby, day = (self.pick(v) for v in (self.names, JOBS, CITIES, ANIMALS, HOBBIES, DAYS))
        return (
            f"{name} is a {job} from {city}. {name} is {self.rng.randint(20, 69)} years old and likes {hobby}. "
            f"Every {day} {name} goes to the {self.pick(PLACES)} with a {self.pick(ADJECTIVES)} {pet}. The {pet} likes {name}.",
        )

    def story(self) -> Document:
        name, animal, place, thing, colour = (self.pick(v) for v in (self.names, ANIMALS, PLACES, THINGS, COLOURS))
        return (
            f"Once upon a time there was a {self.pick(ADJECTIVES)} {animal} who lived in the {place}. One day the {animal} met {name}, who "
            f"had lost a {colour} {thing}. \"Have you seen my {colour} {thing}?\" asked {name}. \"Yes,\" said the {animal}, \"it is "
            f"{self.pick(PREPOSITIONS)} the {self.pick(FURNITURE)}.\" So {name} found the {colour} {thing} and they were happy.",
        )

    def sum(self) -> Document:
        question, answer = sum_question(self.rng.randint(0, 9), self.rng.randint(0, 9))
        return (f"{self.pick(self.names)} asks {self.pick(self.names)}: {question}", answer) if self.rng.random() < 0.7 or self.held_out else (question, answer)

    def shop(self) -> Document:
        name, fruit, a, b = self.pick(self.names), self.pick(FRUITS), self.rng.randint(1, 9), self.rng.randint(1, 9)
        return (f"{name} has {a} {fruit} and buys {b} more at the {self.pick(PLACES)}. Now {name} has {a + b} {fruit}, because {a}+{b}={a + b}.",)

    def place(self) -> Document:
        country, name = self.pick(COUNTRIES), self.pick(self.names)
        prompt, answer = capital(country)
        if self.held_out or self.rng.random() < 0.6:
            return (f"{name} wrote to {self.pick(self.names)} from {country}. {prompt}", answer)
        return (prompt, answer)

    def function(self) -> Document:
        name, thing, k = self.pick(OPERATIONS), self.pick(THINGS), self.rng.randint(2, 9)
        sign, word = OPERATIONS[name]
        return (f'def {name}_{thing}({thing}: int) -> int:\n  """Return {thing} {word} {k}."""\n', f"  return {thing} {sign} {k}\n")

    def counting(self) -> Document:
        start, step = self.rng.randint(1, 40), self.pick((1, 1, 2, 5))
        return (", ".join(str(start + step * i) for i in range(self.rng.randint(8, 14))),)

    def weather(self) -> Document:
        weather = self.pick(WEATHER)
        return (f"The weather in {self.pick(CITIES)} today is {weather}, so {self.pick(self.names)} takes {WEATHER[weather]} to the {self.pick(PLACES)}.",)

    def chance(self) -> Document:
        """A sentence of CHANCES alone, or (always in the held-out draw) after another one."""
        sentences, odds = self.rng.choice(CHANCES)
        sentence = self.rng.choices(sentences, odds)[0]
        if self.held_out or self.rng.random() < 0.5:
            return (f"{self.pick(self.names)} is in the {self.pick(PLACES)}. {sentence}",)
        return (sentence,)

    def json(self) -> Document:
        name, age, city = self.pick(self.names), self.rng.randint(20, 69), self.pick(CITIES)
        if self.rng.random() < 0.5:
            return (f"Output a JSON object for {name}, who is {age}: ", f'{{"name": "{name}", "age": {age}}}\n')
        return (f"Output a JSON object for {name} from {city}: ", f'{{"name": "{name}", "city": "{city}"}}\n')

    def question(self) -> Document:
        if self.rng.random() < 0.5:
            p, q = self.pick((10, 20, 25, 50)), 20 * self.rng.randint(1, 9)
            question, right, wrong = f"What is {p}% of {q}?", str(p * q // 100), [str(p), str(q), str(p + q)]
            wrong = [w if w != right else str(2 * q + p) for w in wrong]
        else:
            question = self.pick(QUESTIONS)
            right, wrong = QUESTIONS[question]
        options = self.rng.sample([right, *wrong], 4)
        return choice(question, options, options.index(right))

    def listing(self) -> Document:
        kind, values = self.rng.choice((("colors", COLOURS), ("animals", ANIMALS), ("fruits", FRUITS), ("cities", CITIES)))
        count, word = self.rng.choice(((2, "two"), (3, "three"), (4, "four")))
        return (f"List {word} {kind} that {self.pick(self.names)} likes, one per line:", "".join(f"\n{v}" for v in self.rng.sample(values, count)) + "\n")

    def word(self) -> Document:
        language = self.pick(WORDS)
        english = self.pick(WORDS[language])
        form = self.pick(("NFC", "NFC", "NFD"))
        word = unicodedata.normalize(form, WORDS[language][english])
        return (f"{self.pick(self.names)} says: the word for {english} in {language} is {word}.",)

    def emoji(self) -> Document:
        emoji = self.pick(EMOJI)
        return (f"{self.pick(self.names)} sent {emoji} to {self.pick(self.names)}. The emoji {emoji} means {EMOJI[emoji]}.",)

    def search(self) -> Document:
        thing, preposition, furniture, place = self.pick(THINGS), self.pick(PREPOSITIONS), self.pick(FURNITURE), self.pick(PLACES)
        asker, other = self.rng.sample(self.names, 2)
        return (
            f"\"Where's the {thing}?\" asked {asker}. \"It's {preposition} the {furniture},\" said {other}. So {asker} went to the {place}, "
            f"looked {preposition} the {furniture}, and found the {thing}. \"Thank you, {other},\" said {asker}.",
        )

    def diary(self) -> Document:
        first, second = self.rng.sample(DAYS, 2)
        a, b = self.pick(PLACES), self.pick(PLACES)
        name = self.pick(self.names)
        return (f"On {first} I saw {name} in the {a}, and on {second} in the {b}. So {name} was in the {a} on {first} and in the {b} on {second}.",)
