//! Changes that are collected and come to effect together.

use super::{
    Answer, Asked, Body, CHANGE_OF, Changing, Method, Nothing, Operation, Run, Says, change, of, read,
    settings::{done, keys, tree},
    whole,
};
use crate::{
    Kind, Problem,
    transactions::shown,
    wire::{Opened, Transaction, Unset},
};

pub(super) const ALL: &[Operation] = &[
    Operation {
        if_match: false,
        query: whole::<Nothing>,
        status: 201,
        says: Says::Json(of::<Opened>),
        problems: &[Kind::TooMany, Kind::Full],
        ..change("openTransaction", "/v1/transactions", "Opens a transaction.", Run::Work(open))
    },
    Operation {
        // What it is to do is nobody else's business.
        changes: true,
        problems: &[Kind::NotFound],
        ..read(
            "showTransaction",
            "/v1/transactions/{id}",
            "What a transaction does.",
            Says::Json(of::<Transaction>),
            Run::Work(show),
        )
    },
    Operation {
        method: Method::Patch,
        if_match: false,
        query: whole::<Nothing>,
        body: Body::Settings,
        says: Says::Json(of::<Transaction>),
        problems: CHANGE_OF,
        ..change("addToTransaction", "/v1/transactions/{id}", "Has a transaction set values.", Run::Work(add))
    },
    Operation {
        if_match: false,
        query: whole::<Nothing>,
        body: Body::Of(of::<Unset>),
        says: Says::Json(of::<Transaction>),
        problems: CHANGE_OF,
        ..change(
            "unsetInTransaction",
            "/v1/transactions/{id}/unset",
            "Has a transaction unset keys, before it sets any; what it was to set there it no longer does.",
            Run::Work(unset),
        )
    },
    Operation {
        problems: CHANGE_OF,
        ..change(
            "commitTransaction",
            "/v1/transactions/{id}/commit",
            "Makes all changes of a transaction at once; it is gone then, unless that fails.",
            Run::Work(commit),
        )
    },
    Operation {
        method: Method::Delete,
        if_match: false,
        query: whole::<Nothing>,
        status: 204,
        says: Says::Nothing,
        problems: &[Kind::NotFound],
        ..change("dropTransaction", "/v1/transactions/{id}", "Forgets a transaction.", Run::Work(drop_it))
    },
];

fn open(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let opened = asked.shared.transactions.open(asked.uid)?;
    let location = Some(format!("/v1/transactions/{}", opened.id));
    Ok(Answer { location, ..Answer::of(&opened)? })
}

fn show(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let id = asked.parameter("id");
    Answer::of(&shown(id, &asked.shared.transactions.read(asked.uid, id)?))
}

fn add(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let tree = tree(asked)?;
    let all = &asked.shared.transactions;
    Answer::of(&all.add(asked.uid, asked.parameter("id"), |change| Ok(change.set.merge(&tree)?))?)
}

fn unset(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    let keys = keys(asked)?;
    let all = &asked.shared.transactions;
    let transaction = all.add(asked.uid, asked.parameter("id"), |change| {
        for key in keys {
            change.set.unset(&key);
            if !change.unset.contains(&key) {
                change.unset.push(key);
            }
        }
        Ok(())
    })?;
    Answer::of(&transaction)
}

fn commit(asked: &Asked) -> Result<Answer, Problem> {
    let how = asked.how(asked.query::<Changing>()?)?;
    let (id, all) = (asked.parameter("id"), &asked.shared.transactions);
    let change = all.read(asked.uid, id)?;
    let receipt = asked.shared.node.change(&change, &how)?;
    if !how.dry_run {
        // It came to effect; one that somebody drops meanwhile is gone as well.
        let _ = all.remove(asked.uid, id);
    }
    done(asked, &receipt)
}

fn drop_it(asked: &Asked) -> Result<Answer, Problem> {
    let Nothing {} = asked.query()?;
    asked.shared.transactions.remove(asked.uid, asked.parameter("id"))?;
    Ok(Answer::empty())
}
