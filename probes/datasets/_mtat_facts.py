"""What is known of MagnaTagATune: its tags, its broken files, its splits, and the sums of its files.

Source: Law, West, Mandel, Bay and Downie, Evaluation of algorithms using games: the case of music tagging (ISMIR
2009), for the data set. The list of tags and the splits are those that the literature since uses.
"""

FOLDERS = "0123456789abcdef"
SPLIT_OF_FOLDER = {folder: "train" if folder < "c" else "valid" if folder == "c" else "test" for folder in FOLDERS}
"""12 : 1 : 3. No track is in two splits; 56 of 230 artists are."""

N_ANNOTATED, N_CLIP_INFO, N_TAGS = 25_863, 31_382, 188
SPLIT_SIZES = {"full": (18_706, 1_825, 5_329), "clean": (15_247, 1_529, 4_332)}
"""Clips to train, to validate and to test, without the broken files."""

BROKEN = {
    "35644": "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
    "55753": "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "57881": "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_couperin-88-117.mp3",  # noqa: E501
}
"""Files that nobody can read, all of folders that train."""

SHA256 = {
    "annotations_final.csv": "99b94e95825d4fa576386a5367b9c96e0ec636e9f9c240aceb492f4728f68c3c",
    "clip_info_final.csv": "cb6108a10d3a91f0bfd7d2fbec2382559d15f20c8d28093f14e12162a47a3e78",
}

TOP_50 = (
    *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano"),
    *("ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing"),
    *("vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop"),
    *("soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice"),
    *("female vocal", "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice", "choral"),
)
"""The 50 most frequent tags, most frequent first. Some are equally frequent: the order is a convention, not a count."""

TOP_50_COUNTS = (
    *(4852, 4272, 3547, 2954, 2729, 2598, 2519, 2371, 2306, 2056, 1956, 1906, 1826, 1729, 1717, 1474, 1395),
    *(1296, 1279, 1211, 1184, 1158, 1093, 1086, 1055, 1025, 1016, 1002, 995, 995, 985, 926, 826, 741, 691),
    *(688, 665, 650, 649, 644, 644, 634, 623, 575, 573, 557, 541, 505, 505, 490),
)
"""Clips of all 25,863 that have each of the tags, in the order of ``TOP_50``."""

ALIASES = {
    "noVocals": "no vocals",
    "maleVocal": "male vocal",
    "noVocal": "no vocal",
    "newAge": "new age",
    "maleVoice": "male voice",
    "femaleVocal": "female vocal",
    "noVoice": "no voice",
    "femaleVoice": "female voice",
}
"""Names that copies of the annotations use, and what they stand for."""

SYNONYMS = {
    "beat": ("beats",),
    "choir": ("choral",),
    "classical": ("classic", "clasical"),
    "drums": ("drum",),
    "electronic": ("electro", "electronica", "electric"),
    "fast": ("fast beat", "quick"),
    "female": (
        *("female voice", "female vocal", "female vocals", "female singer", "female singing", "woman"),
        *("woman singing", "women"),
    ),
    "flute": ("flutes",),
    "guitar": ("guitars",),
    "harpsichord": ("harpsicord",),
    "indian": ("india",),
    "male": ("male voice", "male vocal", "male vocals", "male singer", "man", "man singing", "men"),
    "metal": ("heavy metal", "heavy"),
    "no vocals": ("no vocal", "no voice", "no voices", "no singer", "no singing", "instrumental"),
    "opera": ("operatic",),
    "quiet": ("silence",),
    "singing": ("singer",),
    "strings": ("string",),
    "synth": ("synthesizer",),
    "violin": ("violins",),
    "vocal": ("vocals", "voice", "voices"),
    "weird": ("strange",),
}
"""Tags of the 50 that take in others, from those 50 and from beyond, with ``--synonyms merge``: 37 are left.

None of the published protocols merges tags.
"""
