/* One charge (one contract, one month) as the ledger, workers, Settle, Omie and people move it. `make model`
 * verifies it exhaustively; README.md beside it says what is modelled, what is not, and how to read a trail. */
#include "switches.h"   /* the size; what the person does; the five rules that a mutation can leave out */
#define ROUNDS 2        /* messages sent before what is still unsent is parked; a redrive grants one more */
#define ATTEMPTS 6      /* claims, counted from 1: one per delivery, ROUNDS + 1 + COPIES of them */
#define NONE 0          /* nothing in the ledger yet; no call sent */
mtype:state = { READY, SENDING, UNKNOWN, BILLED, PARKED, HELD };  /* billing.domain.charge.State */
mtype:reply = { SENT, DONE, BUSY, REFUSED };                      /* what became of one FaturarContrato */

mtype:state state = NONE;                       /* the ledger's item, */
byte attempt = 0; bool doubtful = false;        /* whose claim it was, and whether it is parked because in doubt */
bool hold = false;                              /* the holds table */
bool orderless = false;                         /* adopted without an order, by an earlier version: BILLED, and not true */
byte queue = 1, rounds = 1, copies = 0;         /* the plan read "not billed" and has sent its message */
byte billings = 0, ours = 0;                    /* Omie's book: all billings, those by our calls */
mtype:reply wire[ATTEMPTS];                     /* each attempt's call */
bool writer[ATTEMPTS], late_claim[ATTEMPTS];    /* its function still runs; it was claimed after the hold */
byte working = 0, flying = 0, relying = 0;      /* deliveries in work, calls in Omie, readings "not billed" in use */
bool old = false;                               /* a queued message's reading is too old for the worker to believe */

/* domain TRANSITIONS: the states each event may start from */
#define in(s)             (state == s)
#define from_CLAIM        (in(NONE) || in(READY))
#define from_GIVE_UP      (in(SENDING))
#define from_DONE         (in(SENDING) || in(UNKNOWN))
#define from_NOT_EXECUTED (in(SENDING))
#define from_REJECT       (in(SENDING))
#define from_IN_DOUBT     (in(SENDING))
#define from_ADOPT        (in(NONE) || in(READY) || in(UNKNOWN) || in(PARKED) || in(HELD))
#define from_RESEND       (in(UNKNOWN))
#define from_PARK         (in(NONE) || in(READY) || in(UNKNOWN) || in(HELD))
#define from_HOLD         (in(NONE) || in(READY))
#define from_REDRIVE      (in(PARKED))
#define from_NOT_BILLED   (in(BILLED))         /* and adopted without an order, as an earlier version did */

/* Ledger.apply: one conditional write. `a`: the attempt it must still be; 0: none named, which leaves a doubt alone.
 * Refused, it changes nothing, and we go `over`. */
#define may(event, a)     (from_##event && (attempt == a || (a == 0 && nameless)))
#define tell(event, a, to) atomic { if :: may(event, a) -> state = to :: !may(event, a) -> goto over fi }
/* What the ledger calls settled, and a line in Omie's book. */
#define settled           (in(BILLED) || in(PARKED) || in(HELD))
#define bill              billings++; assert(billings == 1)      /* NEVER BILLED TWICE */

proctype Call(byte a) {             /* FaturarContrato inside Omie: executed or not, soon or late */
    atomic {
        if :: omie_accepts -> bill; ours++; wire[a] = DONE;
                assert(!late_claim[a])                             /* NEVER BILLED BY US ON A CLAIM AFTER THE HOLD */
           :: wire[a] = BUSY :: wire[a] = REFUSED :: wire[a] = NONE fi;            /* NONE: dropped, without a reply */
        if :: writer[a] :: else -> wire[a] = NONE fi;                              /* nobody listens any more */
        flying--
    }
}

active [2] proctype Worker() {      /* bill_batch; `goto over` as an alternative: killed there, or failed and left */
    byte me;
end: do
    :: atomic { queue > 0 -> queue--; working++;
           if :: copies < COPIES -> copies++; queue++ :: true fi;                /* it will be delivered again? */
           if :: in(NONE) || in(READY) :: else -> goto over fi;                  /* `todo`, as the ledger reads now */
           if :: old && billings > 0 -> goto over :: else fi };                  /* looks again: left to Settle */
       if                                                                        /* meanwhile it has read, altered... */
       :: atomic { claimable && !on_hold ->                                      /* one transaction */
              state = SENDING; attempt++; me = attempt; writer[me] = true; late_claim[me] = hold }
       :: atomic { from_CLAIM && on_hold -> goto held }
       :: atomic { !claimable -> goto over }
       :: tell(PARK, 0, PARKED); goto over
       :: goto over
       fi;
       if
       :: atomic { wire[me] = SENT; flying++; run Call(me) }                     /* within the SEND_WINDOW */
       :: tell(GIVE_UP, me, READY); goto over                                    /* too late for it */
       :: goto over
       fi;
       if
       :: atomic { wire[me] == DONE    -> tell(DONE, me, BILLED) }
       :: atomic { wire[me] == BUSY    -> tell(NOT_EXECUTED, me, READY) }
       :: atomic { wire[me] == REFUSED -> tell(REJECT, me, PARKED) }
       :: tell(IN_DOUBT, me, UNKNOWN)                                            /* reply lost, or the call is late */
       :: true
       fi;
       goto over;
held:  if :: tell(HOLD, 0, HELD) :: true fi;
over:  atomic { writer[me] = false; if :: wire[me] == SENT :: else -> wire[me] = NONE fi; me = 0; working-- }
    od
}

/* Reading the orders: billed already, then it is adopted; else we act on "not billed" until `over`. */
#define look atomic { if :: has_order -> tell(ADOPT, a, BILLED); goto over :: else -> relies = true; relying++ fi }
#define forget atomic { relying = relying - relies; relies = false; a = 0 }

active [SETTLES] proctype Settle() {    /* settle_company and doubt; its last branch is a new run's plan as well */
    byte a; bool relies;
end: do
    :: atomic { in(SENDING) && wait_is_over(attempt) -> a = attempt };
       if :: tell(IN_DOUBT, a, UNKNOWN) :: goto over fi;
       goto doubt
    :: atomic { in(UNKNOWN) && wait_is_over(attempt) -> a = attempt };
doubt: look;
       if :: tell(RESEND, a, READY)                                              /* stage 20, no order */
          :: atomic { tell(PARK, a, PARKED); doubtful = true; goto over }        /* neither */
          :: goto over fi;
       goto send
    :: atomic { in(NONE) || in(READY) -> a = attempt };
       look;
send:  if :: atomic { rounds < ROUNDS -> rounds++; queue++ }                     /* the next round's message */
          :: tell(PARK, 0, PARKED)                                               /* rounds or failures used up */
          :: true fi;
over:  forget
    od
}

active proctype Redrive() {         /* by a person, once: it reads Omie if in doubt, else the next run's plan does */
    byte a; bool relies;
end: atomic { in(PARKED) && (!doubtful || wait_is_over(attempt)) -> a = attempt; rounds = ROUNDS - 1;
        if :: doubtful -> doubtful = false; look :: else fi };
    if :: tell(REDRIVE, a, READY) :: true fi;
over: forget
}

active proctype Person() {          /* clicks "Faturar" in Omie's screen */
end: atomic { click }
}

active proctype Denial() {          /* somebody whose name is kept says "not billed" of what was adopted without an order */
    atomic { if :: in(NONE) -> state = BILLED; orderless = true :: true fi };
end: atomic { orderless -> orderless = false; tell(NOT_BILLED, 0, PARKED); doubtful = true };
over: skip
}

active proctype Churn() { hold = true }    /* some time: perhaps after everything */

active proctype Checks() {
end: do
    :: atomic { in(BILLED) && billings == 0 && !orderless -> assert(false) }     /* BILLED is true */
    :: timeout -> assert(settled); assert(!in(HELD) || ours == 0); break         /* nothing moves: NEVER LOST */
    od
}
