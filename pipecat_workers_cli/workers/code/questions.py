"""What a spoken question about code is about: its topic, and the name or file it means.

Pure. The rows are tried from the top and the first that fits is the topic; what is left of a
question when its frame is taken off is the subject.
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class Topic(StrEnum):
    """What is to be found out."""

    DEFINED = "defined"
    USES = "uses"
    EXPLAIN = "explain"
    MEMBERS = "members"
    GREP = "grep"
    TODO = "todo"
    DEPENDENCIES = "dependencies"
    STRUCTURE = "structure"
    LINES = "lines"
    ERRORS = "errors"
    TESTS = "tests"
    ENTRY = "entry"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, understood.

    Attributes:
        topic: What is to be found out.
        subject: The name, file or text it is about, as it was said; empty for the whole folder.
        noun: What the subject was called: `class`, `file`, `module`; empty if nothing.
        again: The subject is the one of the question before ("and who calls it?").
    """

    topic: Topic
    subject: str = ""
    noun: str = ""
    again: bool = False


MATCHED = 400  # characters of a question that the expressions see

THE_FOLDER = (
    r"(?:this |the |my |our |your |whole |entire )*"
    r"(?:project|repo(?:sitory)?|code ?base|code|folder|program|app(?:lication)?|package|thing)"
)
S = r"(?P<subject>.+?)"
END = r"[\s?.!,]*$"

ROWS: tuple[tuple[Topic, str], ...] = (
    (
        Topic.GREP,
        r"""(?:\bfind|\bsearch|\bgrep|\blook|\bwhere|\bsays?\b|\bmention|\bcontain|\btext\b)"""
        r"""[^"“”`]*?["“`](?P<subject>[^"“”`]{1,200})["”`]""",
    ),
    (
        Topic.LINES,
        r"\bhow (?:many lines(?: of code)?|long|big|large)\s*(?:does |do |has |have |is |are )?"
        rf"(?:there |in )*(?P<subject>.*?)(?:\s*\b(?:have|has|there|in total|altogether))*{END}",
    ),
    (
        Topic.STRUCTURE,
        r"\b(?:what|which|list|show|how many)\b(?: me| all| the| other)* (?:files|folders|modules)"
        rf"(?: are| does| is| has| do)?(?: there| here| in {THE_FOLDER}| {THE_FOLDER} have)?{END}",
    ),
    (
        Topic.GREP,
        rf"\bwhere (?:does|do) (?:it|they|the code|we|anything) (?:say|mention)s? {S}{END}",
    ),
    (Topic.TODO, r"\b(?:todos?|to-dos?|to do'?s|fixmes?|fix mes?)\b"),
    (Topic.TODO, r"\b(?:any|the|all|open|find|list|show|which)\s+to do\b"),
    (
        Topic.ERRORS,
        r"\b(?:errors?|exceptions?|failures?)\b.*\b(?:handl|dealt|deal|caught|catch|rais|throw|treat)",
    ),
    (
        Topic.ERRORS,
        r"\b(?:handl|deal|catch|caught|rais|throw|treat)\w*\b.*\b(?:errors?|exceptions?|failures?)\b",
    ),
    (Topic.ERRORS, r"\berror[- ]handling\b|\bwhat happens (?:when|if)\b.*\b(?:fails?|wrong)\b"),
    (Topic.ENTRY, r"\bentry[- ]?points?\b|\bmain function\b"),
    (
        Topic.ENTRY,
        rf"\bwhere does (?:it|{THE_FOLDER}) (?:start|begin)"
        r"|\bhow (?:do|can|would) (?:i|you|we|one) (?:run|start|launch|use)"
        rf" (?:it|{THE_FOLDER}){END}",
    ),
    (
        Topic.TESTS,
        r"\b(?P<subject3>its|their) tests\b"
        rf"|\btests? (?:for|of|cover(?:s|ing)?|about) {S}{END}"
        rf"|\b(?:is|are|how is|how are) (?P<subject2>.+?) tested\b",
    ),
    (Topic.TESTS, r"\btests?\b|\btested\b|\btesting\b"),
    (
        Topic.DEFINED,
        rf"\bwhere(?:'s|\s+is|\s+are|\s+was|\s+does|\s+do|\s+can (?:i|we) find)?\s+{S}\s+"
        r"(?:is |are |get |gets )?(?:defined|declared|implemented|located|written|comes? from"
        r"|lives?|kept)\b",
    ),
    (
        Topic.DEFINED,
        rf"\b(?:which|what) (?:file|module|place)s? (?:defines?|declares?|implements?|contains?"
        rf"|has|holds) {S}{END}"
        rf"|\b(?:which|what) (?:file|module)s? (?:is|are) (?P<subject2>.+?) in{END}",
    ),
    (Topic.DEFINED, rf"\b(?:definition|declaration|implementation)s? of {S}{END}"),
    (
        Topic.USES,
        r"\b(?:who|what|which(?: \w+){1,2}|where do we|where does it|any(?:body|one))"
        r" (?:else |all )*(?:calls?|uses?|using|imports?|needs?|references?|invokes?|depends? on)"
        rf" {S}{END}",
    ),
    (
        Topic.USES,
        rf"\bwhere(?:'s|\s+is|\s+are)?\s+{S}\s+(?:being |all )?"
        r"(?:used|called|imported|referenced|invoked|needed)\b",
    ),
    (
        Topic.USES,
        rf"\b(?:callers?|usages?|uses|references|call sites?) (?:of|to) {S}{END}"
        r"|\b(?:is|are) (?P<subject2>.+?) (?:ever |still |even )?(?:used|called|imported)\b",
    ),
    (
        Topic.MEMBERS,
        r"\b(?:what|which|list|show)(?: me)?(?: all)?(?: the)? "
        r"(?:methods?|functions?|classes|members?|attributes?|names)"
        rf" (?:does|do|are|is|has|of|in|are there|there are)(?: there)?(?: in| on| of)? {S}"
        rf"(?: have| has| offer| define| contain| there)?{END}",
    ),
    (
        Topic.DEPENDENCIES,
        rf"\b(?:depends?|relies|rely) on {S}{END}|\bdoes (?:it|{THE_FOLDER}) (?:need|use)"
        r" (?P<subject2>[\w.-]+)" + END,
    ),
    (Topic.DEPENDENCIES, r"\bdependenc|\brequirements?\b|\bthird[- ]part"),
    (
        Topic.DEPENDENCIES,
        r"\b(?:packages?|librar(?:y|ies))\b.*\b(?:use|need|require|import|install)"
        r"|\b(?:use|need|require|import|install)\w*\b.*\b(?:packages|librar(?:y|ies))\b",
    ),
    (
        Topic.STRUCTURE,
        r"\bstructured?\b|\blayout\b|\boverview\b|\borgani[sz]ed\b|\barchitecture\b|\blanguages?\b"
        r"|\b(?:how many|list)\b.*\b(?:files|folders|directories|modules|classes|functions)\b",
    ),
    (
        Topic.STRUCTURE,
        rf"\b(?:what(?:'s| is| does| are)|describe|explain|summari[sz]e|tell me about)"
        rf"(?: in)? {THE_FOLDER}(?: do| for| about| all about)?{END}"
        r"|\bwhat (?:am i|are we) looking at\b|\bwhat(?:'s| is) (?:in )?here\b",
    ),
    (Topic.HELP, r"\bwhat can (?:i|you|we) (?:ask|do|answer|tell)|\bhelp\b" + END),
    (
        Topic.EXPLAIN,
        r"\b(?:what(?:'s| is| are| does| do| happens)(?: in| inside)?|explain|describe|show me|read"
        r"|tell me(?: more)? about|summari[sz]e|how does|how do|how is|how are)\s+"
        rf"{S}(?:\s+(?:do|does|for|about|works?|means?|says?|returns?|takes?|good for"
        r"|all about|implemented|made))*" + END,
    ),
    (Topic.DEFINED, rf"\bwhere(?:'s|\s+is|\s+are|\s+can i find|\s+do i find)?\s+{S}{END}"),
    (Topic.GREP, rf"\b(?:find|search(?: for)?|grep(?: for)?|look(?: up| for)?)\s+{S}{END}"),
    (Topic.EXPLAIN, rf"\b(?:and|what about|how about) {S}{END}"),
)
TABLE = tuple((topic, re.compile(pattern, re.IGNORECASE)) for topic, pattern in ROWS)

SPOKEN_MARKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\s+(?:dot|point)\s+(py|pie|p y)\b", re.IGNORECASE), ".py"),
    (re.compile(r"\s+dot\s+([a-z]{1,5})\b", re.IGNORECASE), r".\1"),
    (re.compile(r"\s+(?:underscore|under score)\s+", re.IGNORECASE), "_"),
    (re.compile(r"\s+slash\s+", re.IGNORECASE), "/"),
)
"""How marks are said aloud, and what they are."""

COURTESY = re.compile(
    r"^\W*(?:(?:and|so|ok(?:ay)?|well|um+|uh+|please|thanks?|hey|hello|now|then|also|but)\b[\s,.!]*)+"
    r"|\b(?:please|again|exactly|actually|really|right now|for me)\b"
    r"|\b(?:can|could|would|will) you (?:please )?(?:tell|show) me\b|\bdo you know\b"
    r"|\bi(?:'d| would)? (?:want|like) to know\b",
    re.IGNORECASE,
)
PRONOUN = re.compile(
    r"(?:all |any )?(?:it|that|this|them|those|these|its|their|the same|he|she)"
    r"(?: (?:one|thing|file|class|function|method|module|name))?",
    re.IGNORECASE,
)
NOUNS = (
    r"(?:class|function|method|constant|variable|file|module|script|type|struct|interface|package"
    r"|folder|directory|trait|enum|hook|component|word|text|string|name|symbol)"
)
BEFORE = re.compile(
    rf"^(?:all (?:the )?|any |every |the |an? |our |my |your |some )*"
    rf"(?:(?:call(?:s|ers)?|uses?|places|occurrences) (?:of|where) )?(?:(?P<noun>{NOUNS})(?:es|s)? "
    rf"(?:called |named )?)?(?:the )?",
    re.IGNORECASE,
)
AFTER = re.compile(
    rf"(?:\s+(?P<noun>{NOUNS}))?(?:\s+(?:in|of|from) (?:the |this |your |our )?(?:code|project"
    r"|folder|repo(?:sitory)?|code ?base|tests?|files?|here)"
    r"|\s+(?:here|anywhere|somewhere|now|defined|used|called|again|handled"
    r"|registered|configured|created))*[\s?.!,;:]*$",
    re.IGNORECASE,
)
IDENTIFIER = re.compile(
    r"\b(?:[A-Za-z]+_\w+|[a-z]+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*|[\w/]+\.[a-z]{1,4}|\w+(?=\(\)))"
)
"""A word that only code has: with an underscore, capitals inside, an ending, or brackets."""


def parse_question(text: str) -> Question:
    """Understand a question as well as rules can; what fits none asks for help."""
    words = " ".join(text.replace("’", "'").split())[:MATCHED]
    for mark, written in SPOKEN_MARKS:
        words = mark.sub(written, words)
    words = " ".join(COURTESY.sub(" ", words).split())
    for topic, pattern in TABLE:
        if found := pattern.search(words):
            given = next((text for text in found.groupdict().values() if text), "")
            return _about(topic, given, words)
    if found := IDENTIFIER.search(words):
        return Question(Topic.EXPLAIN, found[0])
    if PRONOUN.fullmatch(words.strip(" ?.!")):
        return Question(Topic.EXPLAIN, again=True)
    return Question(Topic.HELP, words)


def _about(topic: Topic, subject: str, words: str) -> Question:
    subject = subject.lstrip(" ?!,;:").rstrip(" ?.!,;:")
    if topic is Topic.GREP and re.search(r"[\"“`]", words):
        return Question(topic, subject.strip('"“”`'))
    bare = subject.strip("'\"“”`")
    if PRONOUN.fullmatch(bare):
        return Question(topic, again=True)
    before = BEFORE.match(bare)
    noun = (before and before["noun"]) or ""
    bare = bare[before.end() :] if before else bare
    after = AFTER.search(bare)
    if after and after.start() > 0:
        noun, bare = noun or after["noun"] or "", bare[: after.start()]
    bare = re.sub(r"\(\)$", "", bare.lstrip(" '\"“”`?!,;:").rstrip(" '\"“”`?.!,;:"))
    if PRONOUN.fullmatch(bare):
        return Question(topic, noun=noun.lower(), again=True)
    if re.fullmatch(THE_FOLDER, bare, re.IGNORECASE):
        bare = ""
    return Question(topic, bare, noun.lower())
