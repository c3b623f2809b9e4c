"""Sums over the members of a cohort, whose summands nobody sees.

The protocol is the double masking of Bonawitz et al. 2017, "Practical Secure Aggregation for
Privacy-Preserving Machine Learning", with the sparse graph of Bell et al. 2020 for large cohorts. A session
is one sum. In it each member

1. *prepares*: it draws a mask seed and a self seed, and sends shares of both to its neighbours, sealed;
2. *masks*: it sends its vector plus the mask of its self seed, plus or minus one mask per neighbour;
3. *agrees*: it votes for one set of survivors, those whose masked vectors arrived;
4. *reveals*, shown the votes of a quorum: its self seed, and of each neighbour one share: of the self seed if
   the neighbour survived, of the mask seed if it dropped out.

In a complete graph the vote brings the sealed opening with it (`quick_opening.py`), and step 4 is needed only
if a survivor fails before it votes, or lies.

**What it guarantees.** A cohort has n members, of which c collude with the coordinator, c < n/3. The
coordinator decides which messages arrive where, and may show each member other sets. It cannot sign for an
honest member or read what one sealed for another. The quorum is q = floor(2n/3) + 1. A session tolerates up
to ceil(n/3) - 1 members that fail, at any stage.

*One agreement is opened.* An honest member votes once. Before it reveals it has seen q votes for its own
agreement, at least q - c of them by honest members. A quick opening of an honest member is unsealed only if
all honest members of its set of survivors voted alike: again at least q - c. Two agreements would need 2 (q -
c) <= n - c honest votes, so 2 q - n <= c. But 2 q - n >= (n + 2)/3 > c. So all honest members that open
anything open the same agreement, with one view of who prepared. Therefore they never open shares of both
seeds of a member.

*Shares alone open nothing.* Colluding members have c shares of each seed of an honest member, and t are
needed. In a complete graph t = q > c.

*What is opened is the sum.* A member votes only if its neighbours among the survivors signed that they masked
with the same view of who prepared. So two honest survivors that are neighbours, of which one voted, have a
mask in common that cancels in their sum only, and mask seeds of survivors stay closed. To open the self seed
of an honest survivor takes a vote of an honest neighbour. In a complete graph all honest survivors are so
linked to those that voted. So the coordinator learns the sum over all honest survivors, at least q - c of
them, or nothing.

*Why votes are needed.* Without them each member would still open one of the two seeds, but a coordinator
could show members different survivors. For n = 7 and two colluding members it could so learn the sum of two
of the five honest members instead of three or more. In a sparse graph it could show v to its neighbours as a
survivor, and to all others the set without the neighbours. It would learn the self seed of v and the mask
seeds of the neighbours, hence the summand of v.

**Large cohorts.** From 33 members on, each has k = 22 neighbours, and t = 16. All members still vote, so one
agreement is opened. Two things are weaker than in a complete graph. First, t neighbours of one member may
collude. With c < 16 they cannot. With more, it takes luck, because the order on the ring is pseudorandom: of
1000 members of which 5 % collude, the probability that any member has 16 colluding neighbours is 2^-47, with
10 % it is 2^-29 (n times the tail of the hypergeometric distribution). Second, a lying coordinator chooses
who drops out, and can so cut the ring into parts and learn a sum of each. A member and its neighbours among
the survivors are at least t, so with c' colluding neighbours a part has at least t - c' honest members. Of
failures: if 5 % of 1000 members fail at random moments, a sum fails with probability 0.6 %; if 5 of 100 fail,
it never does.

**What it does not do.** A member may send any vector: nobody can check a summand. Two sums of the same
vectors over cohorts, or survivors, that differ in one member reveal that member's vector, so a member takes
part in one sum with one vector. Who took part, and sizes and times of messages, are no secret. Seeds and
nonces are random bytes of the operating system. They cancel, so no result depends on them.
"""
