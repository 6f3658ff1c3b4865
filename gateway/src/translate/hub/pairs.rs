//! Which call a result of a tool answers, where its id alone does not say it.
//!
//! Some servers and clients count calls anew in every turn, or give all calls of a turn one id, even an empty one. So the results of an
//! id belong, in their order, to the calls of that id in the nearest turn before them that has it. A result of an id that no call before it
//! has is left as it is; one too many is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::translate::{
    fields::Read,
    hub::{Call, Conversation, Part, What},
    ids::Form,
};

/// The calls of a conversation, and which of them each result answers.
#[derive(Debug, Default)]
pub(crate) struct Pairs<'a> {
    calls: Vec<&'a Call>,
    /// The place of a call among these, by the path of its result.
    answered: BTreeMap<&'a str, usize>,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(asked: &'a Conversation) -> Read<Self> {
        let (mut pairs, mut open) = (Self::default(), Open::default());
        let (mut role, mut turn_at) = (None, 0_usize);
        for turn in &asked.turns {
            // A run of one role is one turn, as a target gets it.
            if !turn.role.instructs() && role != Some(turn.role) {
                role = Some(turn.role);
                turn_at += 1;
            }
            for part in &turn.parts {
                match &part.what {
                    What::Call(call) => {
                        open.call(call.id.as_str(), turn_at);
                        pairs.calls.push(call);
                    }
                    What::Result(outcome) => {
                        let Some(waiting) = open.waiting(&outcome.id.as_str()) else { continue };
                        let place = waiting.pop_front();
                        let place = place
                            .ok_or_else(|| part.refuse("there are more results of this id than calls before it"))?;
                        pairs.answered.insert(part.at.as_str(), place);
                    }
                    _ => {}
                }
            }
        }
        Ok(pairs)
    }

    /// The name of the tool whose call a result answers.
    pub(crate) fn name(&self, result: &Part) -> Option<&'a str> {
        let place = self.answered.get(result.at.as_str())?;
        self.calls.get(*place).map(|call| call.name.as_str())
    }
}

/// The calls that have no result yet, as a conversation is gone through.
#[derive(Debug, Default)]
pub(crate) struct Open<Id> {
    /// By id: the turn that had it last, and the places of its calls.
    of: BTreeMap<Id, (usize, VecDeque<usize>)>,
    calls: usize,
}

impl<Id: Ord> Open<Id> {
    /// Takes the next call, in a turn of this number.
    pub(crate) fn call(&mut self, id: Id, turn_at: usize) {
        let (last, waiting) = self.of.entry(id).or_default();
        if *last != turn_at {
            *last = turn_at;
            waiting.clear();
        }
        waiting.push_back(self.calls);
        self.calls += 1;
    }

    /// The places of the calls that results of an id answer; nothing if no call had it.
    pub(crate) fn waiting(&mut self, id: &Id) -> Option<&mut VecDeque<usize>> {
        self.of.get_mut(id).map(|(_, waiting)| waiting)
    }
}

/// An id for each call that no other has; nothing if they differ as they are.
pub(crate) fn own_ids<'i>(calls: impl Iterator<Item = &'i str>, form: Form) -> Option<Vec<String>> {
    let sent: Vec<String> = calls.map(|id| form.fit(id)).collect();
    let taken: BTreeSet<&str> = sent.iter().map(String::as_str).collect();
    if taken.len() == sent.len() {
        return None;
    }
    let mut numbers = BTreeMap::<&str, usize>::new();
    let mut own = Vec::with_capacity(sent.len());
    for id in &sent {
        let number = numbers.entry(id.as_str()).and_modify(|number| *number += 1).or_insert(1);
        let mut made = if *number == 1 { id.clone() } else { numbered(id, *number, form) };
        // Each turn of it passes an id that was sent, and numbers only go up, so that all of them together pass each at most once.
        while *number > 1 && taken.contains(made.as_str()) {
            *number += 1;
            made = numbered(id, *number, form);
        }
        own.push(made);
    }
    Some(own)
}

fn numbered(id: &str, number: usize, form: Form) -> String {
    form.fit(&format!("{id}-{number}"))
}

impl Conversation {
    /// The conversation with ids of a form that differ, for a target that refuses an id that stands twice; nothing if
    /// they differ already. The first call of an id keeps it, any other gets a number behind it (`call_0-2`), and so does its result. It
    /// depends on the calls before it, and on later ones only where a client has such an id itself, so what is cached stays the same.
    pub(crate) fn with_own_ids(&self, form: Form) -> Read<Option<Self>> {
        let pairs = Pairs::new(self)?;
        let Some(ids) = own_ids(pairs.calls.iter().map(|call| call.id.as_str()), form) else { return Ok(None) };
        let (mut own, mut given) = (self.clone(), ids.iter());
        let own_id = |id: &mut String, found: Option<&String>| {
            if let Some(found) = found {
                id.clone_from(found);
            }
        };
        for part in own.turns.iter_mut().flat_map(|turn| &mut turn.parts) {
            let place = pairs.answered.get(part.at.as_str());
            match &mut part.what {
                What::Call(call) => own_id(&mut call.id, given.next()),
                What::Result(outcome) => own_id(&mut outcome.id, place.and_then(|place| ids.get(*place))),
                _ => {}
            }
        }
        Ok(Some(own))
    }
}
