"""Generates the packaged messages: ``python -m llm_lightning.data.packaged.make_messages``.

The messages replace the SMS Spam Collection where it cannot be downloaded, and have its layout.
A probabilistic template grammar, written for this project, produces them; no text is taken from a
real corpus. Telling the classes apart is meant to need intent, not single words: both classes draw
links, prices and names from the same slots, share openings, closings and spelling habits, and a
part of the templates comes in mirrored pairs of opposite meaning and much the same words.
Every template may occur in each split; no text occurs twice.

Grammar notation, one rule per line (an indented line continues the one above): a slot's name and
its alternatives, or a label and a template. ``[a|b]`` picks an alternative, ``[a]`` keeps or drops
its text, ``{slot}`` fills a slot; then ``#`` becomes a digit, ``~`` a digit from 1, ``@`` a letter.
"""

import argparse
import re
import string
from itertools import cycle
from pathlib import Path
from random import Random

MESSAGES_PATH = Path(__file__).with_name("messages.tsv")
LABELS = ("ham", "spam")
SEED = 2026

# Single words mislead about the mirrored pairs, tell most of the plain messages apart, and nothing
# in the text tells which of the ambiguous ones are spam: no model can get all of those right.
MIRRORED_PER_LABEL, PLAIN_PER_LABEL, AMBIGUOUS_PER_LABEL = 180, 1008, 12

# Numbers (555-01xx) and domains (RFC 2606) are ones reserved for examples, businesses invented.
SLOTS = """
name Anna|Ben|Carla|Dev|Ella|Femi|Gus|Hana|Ivan|Jo|Kit|Lena|Milo|Nia|Omar|Priya|Rosa|Sam|Uma|Zoe
relative mum|dad|gran|auntie|sis|bro
day today|tomorrow|tonight|on Mon|on Tuesday|on Wed|on Thursday|on Fri|on Saturday|on Sun
time ~pm|1[0|1]am|~.[15|30|45]|1#:[00|20|40]|[half|quarter] past [six|seven|eight|nine]
price £~0|£~5|£~00|£1~0|$~0|$~50|~0 quid|~00 pounds|£~#.50
fee £~.99|£~.50|£1.#9|$~.95|~ pounds
phone 555-01##|555 01##|1 555 01##|8~##5
link [go|my|on|bit|sms|tap]-[now|page|info|here|box|mail].example/@~@#|{word}.example[/@~#]|
  [tiny|short|quick|web]link.example/@@~|{word}-{word}.example
word amber|birch|cedar|dune|ember|fern|grove|heron|iris|juniper|kelp|lark|maple|north
place gym|station|library|pub|school|beach|office|market|park|cinema|bus stop|hall
event wedding|party|quiz night|school fair|concert|reunion|match|festival|parade
thing tickets|dinner|taxi|rent|bike|cake|hotel|train|sofa|concert|present
gadget phone|tablet|smart watch|coffee machine|speaker|laptop|air fryer|e-bike|camera
bank Larkbank|Tarn Savings|Quill Bank|Old Mill Bank|Coracle Credit
shop Moss and Pin|Otterlane|Kettlebury|Button Yard|Plumstead Rugs|Toast Harbour
courier Hedgerow Couriers|Swiftsnail Post|Boxhop|Milepost Parcels
clinic Dr [Vale|Okoro|Lind|Marsh]|Elm Street Dental|the eye clinic|Birchway Surgery
ref @@~###|~####|no. ~##|@-~##
pin ~###|~#####|~## ###
hello hi|hey|hello|hiya|hi {name}|hey {name}|hi {relative}|{relative}|{name}|quick one|omg|btw
aside long time no see|hope the {event} was fun|{name} says hi|I'm at the {place}, so cold here|
  sorry I missed your call|was just thinking of you|how's the new {gadget}
goodbye thanks|thank you|let me know|call me|ok?|cheers|have a good day|x|xx|speak soon|lol|see you|
  :)|hope you're well|can't wait|text me|love {name}|hurry up|sorry for the long text
footer Ref {ref}|Reply STOP to end texts|Thank you|Automated message|Help: {phone}|Have a nice day
scam your parcel is held, [pay|settle] the {fee} fee at {link}|your account is locked, log in at
  {link}|you won a {price} voucher, [claim|get] it at {link}|a loan of {price} is approved, call
  {phone}|you are due a tax refund of {price}, [apply|claim] at {link}|your card was charged
  {price}, call {phone} to cancel|your number was picked for a free {gadget}, reply with your name
"""

# Private messages, or what poses as them. A ham line is followed by the spam line it mirrors.
MIRRORED_CHAT = """
ham [{name}|my {relative}] got a text saying {scam}. We had to delete it, [what a|it's a] scam
spam {scam}. [{name}|your {relative}] said it's a scam? It's real, don't delete this text
ham if you get a text that says {scam}, [just] ignore it. Nobody real sends that
spam did you ignore the text we sent? {scam}. [Just] get it before nobody can
ham I owed you {price} for the {thing}, just sent it to your account. Don't send it back this time
spam I just sent {price} to your account by mistake, it's for the {thing}. Send it back to {phone}
ham lost my phone at the {place} but {name} found it. I don't need money, just text my old number
spam it's me, lost my phone at the {place}. Don't text my old number, I just need {price} {day}
ham [just] got a new number, this one. Call the old one first if you're not sure it's me
spam [just] got a new number, this one. Can't call, [please] [send|need] {price} [first|asap]
ham the code for the {place} door is {pin}, send it to anyone who comes. It was on my phone
spam a code for my {place} account comes to your phone, it was sent by mistake. send it to me
ham can you get {name} a gift card, about {price}? I'm in a meeting, will pay you back {day}
spam I'm in a meeting, can you [get|buy] [2|3|4|5] {price} gift cards? [Send|Text] the card numbers
ham {name} makes {price} a day from home, no boss. I want that too but I start my new job {day}
spam [earn|make] {price} a day from home, no boss! [Start {day}|Want it], [text|call] {phone}
ham {name} put {price} in that coin group and wants me to join. It never doubles, I said no
spam I put {price} in that coin group and it doubles. {name} said no, never mind, join at {link}
ham pics from the {event} are at {link}, is that you with the {gadget}? [I saw you|You look great]
spam is that you in the pics at {link}? [You look great|I saw you], log in with your password
ham are you {name}'s {relative}? I'm new, we met at the {event}. Can your boy come {day}
spam are you {name}'s friend? We met at the {event}. I'm new and alone {day}, see my pics at {link}
ham got [2|3] free tickets for the {event} {day}, no catch, {name} can't go. Want to come with me?
spam [2|3] free tickets for the {event} {day}, no catch. [Claim|Get] at {link} with your card
ham thanks for the loan, you'll get {price} back {day}. No bank would say yes that fast
spam need a loan? Get {price} {day}, no bank check, we say yes fast. Pay it back when you like
"""

# The same for messages of businesses, or what poses as them.
MIRRORED_NOTICE = """
ham {courier}: parcel {ref} will arrive {day}, no fee to pay. If we miss you, see {link}
spam {courier}: we missed you, parcel {ref} will not arrive {day} if you do not pay {fee}: {link}
ham {pin} is your {bank} [log-in] code. Do not share it. We will never [call to] ask for it
spam {bank}: do not log in. We will call {day} to ask for your code, share it to keep your account
ham {bank}: did you [just] spend {price} at {shop}? Reply Y or N. We never ask for card numbers
spam {bank}: did you [just] spend {price} at {shop}? If not reply N with your pin and card number
ham {bank}: your bill of {price} is paid by direct debit {day}. You do not need to do anything
spam {bank}: your bill of {price} is not paid, direct debit failed. You need to do it at {link}
ham reminder: check-up with {clinic} {day} at {time}. Reply YES to confirm or call {phone}
spam reminder: refund of {price} from {clinic} {day}. Reply YES and your card or call {phone}
ham {shop}: you are off our list and will not be charged for more texts. Reply JOIN to undo
spam {shop}: you [are on|joined] our list, {fee} per text. [Text|Reply] NO to undo
ham {event} raffle: ticket {ref} won the {gadget}. Collect it from the {place} {day}, nothing to pay
spam {event} raffle: ticket {ref} won the {gadget}. Nothing to collect until you pay {fee}: {link}
ham {shop}: refund of {price} for order {ref} sent to the card you paid with. [See {link}]
spam {shop}: refund of {price} for order {ref} not sent, add the card you paid with at {link}
ham {bank}: your password changed at {time}. If it was not you, call the number on your card
spam {bank}: your password changed at {time}. If it was not you, do not call, log in at {link}
ham your claim {ref} for the accident is closed, {price} was paid [in full]. You need not reply
spam your accident claim is not closed, {price} can be paid [in full]. You need to reply CLAIM
ham {shop}: your plan ends {day}. You keep your {gadget}, no upgrade needed. [See {link}]
spam {shop}: your plan ends {day}. Your {gadget} upgrade is free, [see|get it at] {link}
ham tax office: you are owed {price}, a cheque is in the post. We never send links
spam tax office: you are owed {price}, the cheque never came. [Claim it|See] {link}
ham parking at the {place} is paid until {time}, {fee}. There is no fine, see {link}
spam parking at the {place} was not paid. [A fine of {price}|Your fine] is due, pay at {link}
ham {shop} prize draw: sorry, you did not win the {gadget} this time. [Winners: {link}|Thank you]
spam {shop} prize draw: you did win the {gadget} this time, sorry for the wait. [Claim|See] {link}
"""

CHAT = """
ham running [late|behind], be at the {place} [by|around] {time}
ham can you [pick up|get] [milk|bread|eggs|some wine] on the way [home|back]?
ham are you [still] coming to the {event} {day}? {name} is [asking|driving]
ham happy birthday! [Have a|Hope it's a] lovely day, [drinks|cake] on me {day}
ham call me when you [get|see] this, [nothing urgent|it's about {name}|bit urgent]
ham meeting moved to {time}, [same room|room ~#|see you there]
ham left my [keys|charger|coat] at yours, can I [grab|collect] it {day}?
ham [ok|sure|yes|nope|maybe], {time} works [for me|better|for {name} too]
ham the {thing} was {price}!! [Never again|Worth it though|Split it three ways?]
ham that {shop} sale is on, {gadget} for {price}: {link}. Want me to get you one?
ham {name} [passed the exam|got the job|had the baby]! So [proud|happy], let's celebrate {day}
ham your parcel came, I [put it in the hall|left it with {name}|signed for it]. It's [huge|heavy]
ham can you send me the {thing} money {day}? It was {price} each, cash is fine
ham recipe you asked for is at {link}, I use [less sugar|double garlic]
ham [fancy|want] pizza {day}? two for one offer near the {place}, I have a voucher
ham did you feed the [cat|dog|fish]? [He|She] is acting like nobody did
ham our team won [4|5|6]-[0|1|2|3]!! {name} scored in the last minute, the whole {place} went mad
ham I [miss|love] you, home {day}. Keep some [pasta|curry|pie] for me
ham song I told you about: {link}. [Wait for the chorus|Reminds me of that summer]
ham flat I want to see is at {link}, {price} a week. Come with me {day}?
spam it's me, [phone broke|new sim], [message|text] me on {phone} [asap|now]
spam are you free? I need a favour and can't talk, [buy|get] [2|3|4|5] vouchers of {price}
spam [lonely|bored] {day}? Singles near the {place} want to [chat|meet], text HEY to {phone}
spam [hun|babe], [I left you a voicemail,] call {phone} [to hear it|tonight] {fee}/min
spam my uncle left £~ million and I need a partner to move it, you keep a third
spam I lost ~# pounds in [2|3|5] weeks with this tea, no gym! [Try it|Order] at {link}
spam I teach people to trade, {price} becomes [2|3|9] times that {day}. Call me
spam wrong number but you seem kind. I'm {name}, I trade gold, [shall we chat|add me] at {link}
spam vote for my {relative} in the baby contest? {link}, it just asks for your phone login
spam stuck abroad, wallet stolen, please [wire|send] {price} for the {thing}, will repay {day}
spam someone has a crush on you! [To find out who,] text LOVE to {phone}
spam help little {name} get surgery, [give|donate] {price} at {link} and pass on to ~# friends
"""

NOTICE = """
ham your table for ~ at {time} {day} is [booked|confirmed]. To cancel call {phone}
ham {clinic}: [results are in and normal|repeat prescription ready], no need to [call|come in]
ham school closed {day} due to [snow|a burst pipe|the election]. [Back as usual after that]
ham {courier}: [delivered|left with your neighbour] at {time}. [Photo: {link}]
ham your {shop} order {ref} is ready to collect. [Bring your order number|Open till {time}]
ham library: [2|3|6] books due {day}, renew [at the desk|online at {link}]. [No fines for children]
ham water off in your street {day} until {time} for [repairs|works]. [Sorry for the trouble]
ham {shop} staff rota: you work {day} from {time}. [Swap with {name} if you can't make it]
ham thanks for your gift of {price} to the {place} fund, [receipt {ref}|every bit helps]
spam [URGENT|FINAL NOTICE|ATTENTION]: {scam}
spam {scam}. [Only ~ left|Ends {day}|Valid ~# hours]
spam [WIN|GRAB] a new {gadget}! Text [WIN|PLAY|YES] to {phone}, {fee} per text. [Over 18s]
spam [cheap|top] [pills|watches|sunglasses|rugs], ~0 percent off at {link}
spam {word} casino, ~0 free spins [and {price} bonus]: {link}
spam bad credit? [Clear|Wipe out] your debts {day}, call {phone} [now|free]
spam new [ringtones|wallpapers|games] every week for {fee}, text TONE to {phone}
spam your {gadget} has [3|5|9] viruses! [Clean|Protect] it now: {link}
spam your energy bill could be halved, free solar panels in your area, reply SUN
spam [luck|money|love] is near, say the stars. Full horoscope {fee}, text STAR to {phone}
spam last chance, your [~00 points expire|{price} bonus ends] {day}, [redeem|use them] at {link}
spam [final call:] luxury [holiday|cruise] for two, [you were chosen,] ring {phone}
"""

# What a friend, a business and a fraudster may all write: both labels draw from these.
AMBIGUOUS_CHAT = """
either is this you? {link}
either call me on {phone} [when you can|asap]
either have a look at this: {link}
either got something for you, it's at {link}
either can you send {price} for the {thing} [today|tomorrow]?
"""

AMBIGUOUS_NOTICE = """
either you have [1|2|3] new [messages|photos], see {link}
either {courier}: your parcel is on its way, follow it at {link}
either {shop}: new {gadget} in store, {price}
"""

# What surrounds a template is the same for both labels.
CHAT_FRAME = "[{hello}[,|!|]|{hello}, {aside}.] %s[.|!|...] [{goodbye}]"
NOTICE_FRAME = "%s. [{footer}]"

SHORTHAND = (
    "you u, your ur, you're ur, are r, please pls, see c, for 4, to 2, and n, with w, about abt, "
    "tonight 2nite, tomorrow 2moro, thanks thx, message msg, text txt, back bk, from frm, that tht"
)


def read_rules(block: str) -> list[tuple[str, str]]:
    """Split a block of the grammar into rules.

    Args:
        block: one rule per line; an indented line continues the one above.

    Returns:
        First word and rest of each rule, in the order of the block.
    """
    lines = re.sub(r"\n +", " ", block.strip()).split("\n")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def expand(template: str, rng: Random) -> str:
    """Expand a template into a message.

    Args:
        template: text in the notation of this module.
        rng: source of every choice.

    Returns:
        The message, with single spaces and a capital first letter.
    """
    slots = dict(read_rules(SLOTS))
    # The leftmost of: a slot, or alternatives that hold no further brackets.
    pending = re.compile(r"\{(\w+)\}|\[([^\[\]]*)\]")
    while match := pending.search(template):
        if match[1]:
            phrase = f"[{slots[match[1]]}]"
        else:
            phrase = rng.choice(match[2].split("|") if "|" in match[2] else [match[2], ""])
        template = template[: match.start()] + phrase + template[match.end() :]
    characters = {"#": string.digits, "~": string.digits[1:], "@": string.ascii_lowercase}
    text = re.sub("[#~@]", lambda mark: rng.choice(characters[mark[0]]), template)
    # Phrases bring their own end marks or are empty: no full stop after one, no space before one.
    text = re.sub(r"(?<=[?!])\.+|(?<=[.?!]) \.| (?=[.!?,]|: )", "", " ".join(text.split()))
    return text[0].upper() + text[1:]


def spell_casually(text: str, rng: Random) -> str:
    """Respell a message the way people type, more or less heavily.

    Args:
        text: a message.
        rng: source of every choice.

    Returns:
        The message with shorthand, slips and dropped capitals; links and numbers are unchanged.
    """
    shorthand = dict(read_rules(SHORTHAND.replace(", ", "\n")))
    shorthand_rate, slip_rate = rng.choice((0.0, 0.2, 0.5)), rng.choice((0.0, 0.0, 0.03))
    words = text.split()
    for i, word in enumerate(words):
        core = word.strip(".,!?:").lower()
        if core in shorthand and rng.random() < shorthand_rate:
            words[i] = word.lower().replace(core, shorthand[core])
        elif len(word) > 4 and word.isalpha() and rng.random() < slip_rate:
            at = rng.randrange(1, len(word) - 2)
            words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    text = " ".join(words).replace("'", rng.choice(("'", "")))
    return rng.choice((text, text.lower()))


def make_messages(seed: int = SEED) -> list[tuple[str, str]]:
    """Generate the messages.

    Args:
        seed: seed of the one random generator behind every choice.

    Returns:
        Label and text of each message, shuffled; no two texts are equal when case is ignored.
    """
    rng = Random(seed)
    messages: dict[str, tuple[str, str]] = {}
    for label in LABELS:
        for chat, notice, count in (
            (MIRRORED_CHAT, MIRRORED_NOTICE, MIRRORED_PER_LABEL),
            (CHAT, NOTICE, PLAIN_PER_LABEL),
            (AMBIGUOUS_CHAT, AMBIGUOUS_NOTICE, AMBIGUOUS_PER_LABEL),
        ):
            target = len(messages) + count
            framed = [(CHAT_FRAME, rule) for rule in read_rules(chat)]
            framed += [(NOTICE_FRAME, rule) for rule in read_rules(notice)]
            for frame, (owner, template) in cycle(framed):
                if owner in (label, "either"):
                    text = expand(frame % template, rng)
                    text = spell_casually(text, rng) if frame == CHAT_FRAME else text
                    messages.setdefault(text.casefold(), (label, text))
                if len(messages) == target:
                    break
    shuffled = list(messages.values())
    rng.shuffle(shuffled)
    return shuffled


def to_tsv(messages: list[tuple[str, str]]) -> str:
    """Lay messages out like the SMS Spam Collection: label, tab and text per line, no header."""
    return "".join(f"{label}\t{text}\n" for label, text in messages)


def main() -> None:
    """Write the messages to the shipped file, or to the one named on the command line."""
    parser = argparse.ArgumentParser(description="Generate the packaged messages.")
    parser.add_argument("--out", type=Path, default=MESSAGES_PATH, metavar="FILE")
    parser.parse_args().out.write_bytes(to_tsv(make_messages()).encode())


if __name__ == "__main__":
    main()
