"""What the customers of a shoe shop write: intents, their patterns, and how the world changes.

Neighbouring intents share their words on purpose (a return, an exchange, a refund that does not
come), so a student has to learn what a sentence asks and not which word stands in it.
"""

from __future__ import annotations

from typing import Final

PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "hello": (
        "(hi|hello|hey|good morning|good evening)[ there][,|.|!] ",
        "dear (shop|team|support)[ team], ",
        "",
        "",
        "",
    ),
    "bye": (
        "",
        "",
        "",
        ". (thanks|thank you|cheers)[ a lot| very much| in advance]",
        ". (please help|please advise|can you help)",
        ". (regards|best), <who>",
        ". you can reach me at <who>.<who>##@mail.example",
    ),
    "who": ("anna", "jonas", "mira", "tom", "leila", "pavel", "ines", "otto", "sam", "yuki"),
    "order": ("order [number ]##-#####", "order ##-#####", "my order", "the order[ from <day>]"),
    "day": (
        "monday",
        "tuesday",
        "last (monday|friday|week|month)",
        "the #(th|rd) of (may|june|march)",
        "yesterday",
        "(two|three|five) (days|weeks) ago",
    ),
    "shoe": (
        "[the ](trainers|sneakers|runners)",
        "[the ](leather|suede|winter|chelsea|hiking) boots",
        "[the ](sandals|slippers|loafers|ballerinas|clogs)",
        "[the ](kids|children's) shoes",
        "[the ]<colour> (pumps|trainers|boots|loafers)",
        "the pair",
        "my (new )shoes",
    ),
    "colour": ("black", "white", "red", "navy", "brown", "olive", "beige"),
    "size": ("(3#|4#)", "size (3#|4#)", "a (3#|4#)", "(3#|4#) and a half", "uk #"),
    "wrong": ("pinch[ at the toes]", "rub", "are too (tight|wide|loose|long)", "do not fit"),
    "where": ("online", "in your (app|webshop)", "in the store", "on the website"),
    "pay": ("(credit|debit) card", "paypal", "bank transfer", "gift card", "invoice"),
}

#: What people call the new things, once they are there. Unknown to a student of before.
NEW_PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "shoe": (
        "[the ](aeroknit|cloudstep|gorpwalk)[ (two|pro|x)]",
        "[the ](barefoot|carbon plate|zero drop) (shoes|runners)",
        "[the ]<colour> (aeroknits|cloudsteps|gorpwalks)",
        *PHRASES["shoe"][:3],
    ),
    "pay": ("(klarpay|tapwallet|pay in three|instalments)", *PHRASES["pay"][:2]),
    "where": ("in the (new app|livestream|pop-up)", "from your reel", *PHRASES["where"][:2]),
}

#: The intents of the first day.
INTENTS: Final[dict[str, tuple[str, ...]]] = {
    "size_advice": (
        "which size (should|do) i (take|order|pick) (if|when) i (usually |normally )wear <size>",
        "(do|are) <shoe> (run|turn out|come up) (small|large|true to size)",
        "(is|would) <size> in <shoe> (the same as|like) <size> (in|with) other brands",
        "my (foot is|feet are) 2# cm[ long], what size (is that|do i need)",
        "(how|what) do i (measure|choose) the (right|correct) size for <shoe>",
    ),
    "return_request": (
        "(i want|i would like|i'd like|can i) to (send back|return) <shoe>[ because they <wrong>]",
        "how (do|can) i (return|send back) <shoe>[ i bought <where>]",
        "<shoe> <wrong>, (i want to send them back|taking them back to you please)",
        "(where is|i need|please send) (a|the) return label for <order>",
        "(can|may) i return <shoe> after (##|thirty|sixty) days",
    ),
    "exchange_request": (
        "(can|could) i (swap|exchange|change) <shoe> for <size>",
        "<shoe> <wrong>, (please send|can i get) <size> instead",
        "i (ordered|got) <size> but need <size>, (swap|exchange|replace) possible",
        "(exchange|swap) <shoe> for the <colour> (ones|pair)",
        "(i'd rather have|can you change it to) <colour>, same shoe [other size ]please exchange",
    ),
    "refund_status": (
        "(when|how soon) (do|will) i get my money back for <order>",
        "i (returned|sent back) <shoe> <day> and (still no|have not seen a) refund",
        "(where is|what about) (my|the) refund[ for <order>]",
        "you (got|received) my return <day>, (but|and) the money (is not|isn't) (here|on my account)",
        "refund (to|on) my <pay> has not (arrived|shown up)",
    ),
    "order_tracking": (
        "(where is|what happened to) (my (parcel|package|delivery)|<order>)",
        "(can|could) you track <order>[ for me]",
        "the tracking (link|number) (shows nothing|does not (work|update))[ since <day>]",
        "(when|what time) will (my (parcel|package)|<order>) (arrive|be here|come)",
        "<order> (was|got) (shipped|sent) <day>, (still not here|where is it now)",
    ),
    "delivery_options": (
        "(do|can) you (deliver|ship) to (austria|norway|a parcel locker|a po box|my office)",
        "(how much|what) (is|does) (express|next day|standard) (shipping|delivery)[ cost]",
        "(is|do you have) (free|express|evening) delivery (on|for) <shoe>",
        "can (it|<order>) be (delivered|dropped) (on a saturday|at the neighbour|after six)",
        "(which|what) (carrier|courier) do you (use|ship with)",
    ),
    "change_address": (
        "(i moved|wrong street|i made a typo), (change|update|correct) the address (of|on) <order>",
        "(can|could) you send <order> to (another|a different|my new) address",
        "(please deliver|ship) <order> to my (work|parents|new flat) instead",
        "how do i (change|edit) (my|the) (delivery|shipping) address",
        "the house number (on|of) <order> is wrong, it (should be|is) ##",
    ),
    "cancel_order": (
        "(please |can you )(cancel|stop) <order>[, i changed my mind]",
        "i (ordered|bought) <shoe> (twice|by mistake), cancel (one|it) please",
        "(is it|am i) (too late|still in time) to cancel <order>",
        "(i do not|i don't) (want|need) <shoe> (any more|anymore), stop the (order|shipment)",
        "how (do|can) i cancel (something|an order)[ i placed <where>]",
    ),
    "payment_failed": (
        "my <pay> (was|got|keeps being) (declined|refused|rejected)[ <where>]",
        "(the|your) checkout (does not|won't) (take|accept) my <pay>",
        "(paying|payment) with <pay> (fails|does not go through|hangs)[ every time]",
        "i (tried|try) to pay for <shoe> and (get an error|it says failed)",
        "money (left|was taken from) my account but the payment (shows|is) failed",
    ),
    "payment_methods": (
        "(can|may) i pay (with|by|using) <pay>",
        "(do|will) you (take|accept) <pay>[ <where>]",
        "(which|what) (ways to pay|payment methods) (are there|do you have|do you offer)",
        "is (paying|payment) by <pay> possible[ <where>]",
        "(can|could) i split the payment (over|in|between) (two cards|<pay> and <pay>)",
    ),
    "discount_code": (
        "(my|the) (code|voucher|coupon) (does not work|is not accepted|says expired)[ <where>]",
        "(where|how) do i (enter|use|type in) (a|the|my) (discount code|voucher|coupon)",
        "(can|may) i (combine|use) two (vouchers|codes|coupons)[ on <shoe>]",
        "do you have a (discount|code) for (students|nurses|new customers)",
        "the ##(%| percent) (off|discount) was not (taken off|applied to) <order>",
    ),
    "damaged_item": (
        "<shoe> (arrived|came) (damaged|broken|torn|with a scratch)",
        "the (sole|heel|seam|zip) of <shoe> (came off|broke|is loose)[ after # (days|weeks)]",
        "(there is|i found) a (hole|stain|crack) (in|on) <shoe>",
        "(the box was|both shoes are) (crushed|wet|scratched) when it (arrived|came)",
        "<shoe> fell apart (<day>|after one walk), is (that|this) covered by the warranty",
    ),
    "wrong_item": (
        "(i got|you sent me|the parcel had) <colour> (ones|shoes) (but|although) i ordered <colour>",
        "(there were|i received) two left shoes in the box",
        "this is not what i ordered, i (wanted|asked for) <shoe>[ in <colour>]",
        "you (sent|packed) <size> instead of <size>",
        "(somebody else's|a stranger's|the wrong) (order|shoes) (came|arrived|was in my parcel)",
    ),
    "stock_question": (
        "(when|will) <shoe> (be|come) (back in stock|available again)[ in <size>]",
        "(is|are|do you have) <shoe> in <size> (left|available|in stock)",
        "<shoe> in <colour> (is|are) sold out, (will you get more|any left somewhere)",
        "(can|could) you (tell|mail|notify) me when <size> is (back|there) again",
        "does the store in (graz|linz|bern|ulm) (have|stock) <shoe>",
    ),
    "invoice_request": (
        "(i need|please send|can i get) (an|the|my) (invoice|receipt|bill) for <order>",
        "(where|how) do i (find|download) (the|my) (invoice|receipt)[ for <order>]",
        "the invoice (of|for) <order> (lacks|needs) my (company|vat number|tax id)",
        "my (boss|accountant|office) wants a (receipt|bill) for <shoe>",
        "(can|could) you (correct|reissue) the (invoice|bill) with (another|the right) name",
    ),
    "account_login": (
        "(i cannot|i can't|unable to) (log in|sign in)[ <where>]",
        "(i forgot|reset) my password, (the mail never comes|how do i get in)",
        "my account (is|got) (locked|blocked)[ since <day>]",
        "(the|your) (login|sign-in) (code|link) (does not arrive|is expired)",
        "(how|where) do i (change|update) the email of my (account|login)",
    ),
}

#: Intents that did not exist when the first student learned.
NEW_INTENTS: Final[dict[str, tuple[str, ...]]] = {
    "repair_service": (
        "(do you|can you) (repair|resole|mend) <shoe>",
        "(what|how much) (does|is) (a new sole|resoling|a repair) for <shoe>[ cost]",
        "(how|where) do i (book|send in for) the (repair|resoling)( service)",
        "i (sent|handed) <shoe> in for repair <day>, (is it|are they) done",
    ),
    "resale_program": (
        "(can|how do) i (trade in|sell back) (worn|used|old) <shoe>",
        "(how much|what) do i get for (my used|second hand) <shoe>",
        "is the second life (shop|credit) also valid (for|on) <shoe>",
        "i (mailed|sent) my old pair for resale <day>, (where is|no) the credit",
    ),
    "loyalty_points": (
        "(my|the) (steps|points) (are missing|were not added|disappeared)[ after <order>]",
        "(how|where) (do|can) i (spend|redeem|see) my (steps|points)",
        "how many (steps|points) do i get for <shoe>",
        "(when|do) my (steps|points) (expire|run out)",
    ),
    "custom_design": (
        "(can|could) i (design|print|engrave) (my own|a name on) <shoe>",
        "(the|your) (designer|configurator) (crashes|loses my colours)[ <where>]",
        "(how long|when) do (custom|designed|printed) <shoe> take",
        "(can|may) i (return|change) a (custom|self designed) pair",
    ),
}
