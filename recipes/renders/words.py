"""Sentences made from small word lists in several languages: statements, commands, questions and digits."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Language:
    """The words of a language, and the patterns that they fill: {n} a noun with its article, {v}, {a}, {p}, {m}."""

    name: str
    accents: tuple[str, ...]  # of espeak-ng
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adverbs: tuple[str, ...]
    places: tuple[str, ...]
    commands: tuple[str, ...]
    digits: tuple[str, ...]
    patterns: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


LANGUAGES: dict[str, Language] = {
    "english": Language(
        "English",
        ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"),
        _words("the old sailor, a grey cat, my neighbour, the teacher, the morning train, a small engine, the river, "
               "our captain, the baker, a quiet child, the lamp, her brother, the market, a heavy door, the garden, "
               "some travellers, the machine, a broken clock, the painter, two soldiers, the weather, a yellow boat, "
               "the judge, an empty bottle, the mountain, my oldest friend, the signal, a strange letter, the choir"),
        _words("waits for, has found, likes, looks after, will never forget, asks about, carries, is older than, "
               "often visits, was hidden behind, moves towards, needs, talks to, cannot hear, has seen, replaced, "
               "belongs to, sings about, paid for, is afraid of, must follow, remembers, measured, sold"),
        _words("slowly, every day, without a sound, this evening, in the rain, very well, once a year, for no reason, "
               "before breakfast, too late, as usual, together, after the storm, quite happily, at midnight"),
        _words("in the kitchen, near the harbour, under the bridge, at the station, on the hill, behind the house, "
               "across the valley, in the north, beside the fire, by the window, on the third floor"),
        _words("stop here, turn left, open the door, go back, start the engine, lower the volume, call the office, "
               "wait a moment, switch off the light, send the message, play the next song, show me the map, hold fire, "
               "move out, take cover, yes sir, ready for orders, set a timer, good morning, thank you, unit ready"),
        _words("zero, one, two, three, four, five, six, seven, eight, nine"),
        ("{n} {v} {n} {m}.", "{m}, {n} {v} {n}.", "{n} {v} {n} {p}.", "{p} there is {n}.", "where is {n}?",
         "I think that {n} {v} {n}.", "do you know whether {n} {v} {n} {p}?", "if {n} {v} {n}, we go home {m}.",
         "{n} and {n} are {p}.", "nobody said that {n} {v} {n}!"),
    ),
    "spanish": Language(
        "Spanish",
        ("es", "es-419"),
        _words("el perro, la casa, un amigo, mi hermana, el tren, la montaña, el viejo reloj, una carta, el capitán, "
               "la lluvia, el mercado, un niño, la guitarra, el jardín, nuestra vecina, el barco, la puerta"),
        _words("busca, mira, necesita, encontró, espera, lleva, recuerda, sigue, compró, olvida, visita, oye"),
        _words("despacio, cada día, esta noche, sin hablar, muy bien, otra vez, por la mañana, demasiado tarde"),
        _words("en la cocina, cerca del puerto, bajo el puente, en la estación, detrás de la casa, junto al río"),
        _words("abre la puerta, espera un momento, sigue adelante, apaga la luz, llama a casa, más despacio, gracias"),
        _words("cero, uno, dos, tres, cuatro, cinco, seis, siete, ocho, nueve"),
        ("{n} {v} {n} {m}.", "{m}, {n} {v} {n}.", "{n} {v} {n} {p}.", "{p} hay algo nuevo.", "¿dónde está {n}?",
         "creo que {n} {v} {n}."),
    ),
    "french": Language(
        "French",
        ("fr-fr", "fr-be", "fr-ch"),
        _words("le chien, la maison, un ami, ma sœur, le train, la montagne, la vieille horloge, une lettre, la pluie, "
               "le marché, un enfant, la guitare, le jardin, notre voisin, le bateau, la porte, le boulanger"),
        _words("cherche, regarde, attend, trouve, porte, oublie, suit, visite, entend, vend, préfère, dessine"),
        _words("lentement, chaque jour, ce soir, sans parler, très bien, encore une fois, le matin, trop tard"),
        _words("dans la cuisine, près du port, sous le pont, à la gare, derrière la maison, au bord de la rivière"),
        _words("ouvre la porte, attends un moment, tourne à gauche, éteins la lumière, plus lentement, merci beaucoup"),
        _words("zéro, un, deux, trois, quatre, cinq, six, sept, huit, neuf"),
        ("{n} {v} {n} {m}.", "{m}, {n} {v} {n}.", "{n} {v} {n} {p}.", "où est {n}?", "je crois que {n} {v} {n}."),
    ),
    "german": Language(
        "German",
        ("de",),
        _words("die Katze, das alte Haus, meine Schwester, die Lehrerin, das Fenster, die Straße, ein Kind, das Boot, "
               "die Uhr, das Wetter, unsere Nachbarin, ein Licht, die Brücke, das Feuer, eine Stimme, das Orchester"),
        _words("sucht, findet, sieht, braucht, hört, vergisst, trägt, besucht, verkauft, malt, zeigt, verändert"),
        _words("langsam, jeden Tag, heute Abend, ohne ein Wort, sehr gern, noch einmal, am Morgen, viel zu spät"),
        _words("in der Küche, am Hafen, unter der Brücke, auf dem Berg, hinter dem Haus, neben dem Feuer"),
        _words("warte einen Moment, mach die Tür auf, geh nach links, mach das Licht aus, etwas leiser, vielen Dank"),
        _words("null, eins, zwei, drei, vier, fünf, sechs, sieben, acht, neun"),
        ("{n} {v} {n} {m}.", "{n} {v} {n} {p}.", "wo ist {n}?", "ich glaube, {n} {v} {n}.", "{p} {v} {n} {n}."),
    ),
    "italian": Language(
        "Italian",
        ("it",),
        _words("il cane, la casa, un amico, mia sorella, il treno, la montagna, il vecchio orologio, una lettera, "
               "la pioggia, il mercato, un bambino, la chitarra, il giardino, il nostro vicino, la barca, la porta"),
        _words("cerca, guarda, aspetta, trova, porta, dimentica, segue, visita, sente, vende, preferisce, disegna"),
        _words("lentamente, ogni giorno, questa sera, senza parlare, molto bene, ancora una volta, troppo tardi"),
        _words("in cucina, vicino al porto, sotto il ponte, alla stazione, dietro la casa, lungo il fiume"),
        _words("apri la porta, aspetta un momento, gira a sinistra, spegni la luce, più piano, grazie mille"),
        _words("zero, uno, due, tre, quattro, cinque, sei, sette, otto, nove"),
        ("{n} {v} {n} {m}.", "{m} {n} {v} {n}.", "{n} {v} {n} {p}.", "dov'è {n}?", "credo che {n} abbia sonno."),
    ),
    "portuguese": Language(
        "Portuguese",
        ("pt", "pt-br"),
        _words("o cão, a casa, um amigo, minha irmã, o trem, a montanha, o velho relógio, uma carta, a chuva, "
               "o mercado, uma criança, a guitarra, o jardim, nosso vizinho, o barco, a porta"),
        _words("procura, olha, espera, encontra, leva, esquece, segue, visita, ouve, vende, prefere, desenha"),
        _words("devagar, todos os dias, esta noite, sem falar, muito bem, outra vez, pela manhã, tarde demais"),
        _words("na cozinha, perto do porto, debaixo da ponte, na estação, atrás da casa, junto ao rio"),
        _words("abra a porta, espere um momento, vire à esquerda, apague a luz, mais devagar, muito obrigado"),
        _words("zero, um, dois, três, quatro, cinco, seis, sete, oito, nove"),
        ("{n} {v} {n} {m}.", "{m}, {n} {v} {n}.", "{n} {v} {n} {p}.", "onde está {n}?", "acho que {n} {v} {n}."),
    ),
}  # fmt: skip
"""The languages, by their labels."""


def sentence(language: Language, kind: str, rng: np.random.Generator) -> str:
    """Return something to say.

    Args:
        language: Whose words.
        kind: sentences, commands or digits.
        rng: What draws it.
    """
    if kind == "digits":
        return ", ".join(str(word) for word in rng.choice(language.digits, rng.integers(1, 7))) + "."
    if kind == "commands":
        return str(rng.choice(language.commands)).capitalize() + "."
    text = str(rng.choice(language.patterns))
    lists = {"{n}": language.nouns, "{v}": language.verbs, "{m}": language.adverbs, "{p}": language.places}
    for slot, words in lists.items():
        for word in rng.permutation(words)[: text.count(slot)]:
            text = text.replace(slot, str(word), 1)
    return text[0].upper() + text[1:]
