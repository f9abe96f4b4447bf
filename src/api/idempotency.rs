//! Answers to requests that may be sent again (`Idempotency-Key`).
//!
//! A post carries its key to the history, which remembers it on the disk. For other requests the answer is remembered here,
//! in memory, and no longer than the server runs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Limits;
use super::tokens::Hash;
use crate::app::{Millis, Response};

/// A request that may be sent again: whose token, and which key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Repeatable {
    pub(super) token: Arc<str>,
    pub(super) key: Box<str>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    /// Of method, target and body.
    print: Hash,
    /// `None`: the request is under way.
    answer: Option<Response>,
}

/// What is known of a request.
#[derive(Debug)]
pub(super) enum Known {
    /// Nothing: it is the first one.
    Nothing,
    /// The first one has not been answered.
    UnderWay,
    /// The first one asked for something else.
    Other,
    /// The first one was answered so.
    Answered(Response),
}

/// The requests of the last time.
#[derive(Debug, Default)]
pub(super) struct Answers {
    known: HashMap<Repeatable, Entry>,
    /// In the order in which they came, each with its number and when it is forgotten.
    order: VecDeque<(Millis, u64, Repeatable)>,
    last: u64,
}

impl Answers {
    /// A request begins, unless something is known of it.
    pub(super) fn begin(&mut self, request: &Repeatable, print: Hash, now: Millis, limits: &Limits) -> Known {
        while self.order.front().is_some_and(|(until, ..)| *until <= now) {
            self.forget_oldest();
        }
        match self.known.get(request) {
            Some(entry) if entry.print != print => Known::Other,
            Some(Entry { answer: Some(answer), .. }) => Known::Answered(answer.clone()),
            Some(_) => Known::UnderWay,
            None => {
                while self.order.len() >= limits.max_idempotent.max(1) {
                    self.forget_oldest();
                }
                self.last += 1;
                let number = self.last;
                self.known.insert(request.clone(), Entry { number, print, answer: None });
                self.order.push_back((now + limits.idempotent_ms, number, request.clone()));
                Known::Nothing
            }
        }
    }

    /// A request is answered. What was refused may be tried again under the same key.
    pub(super) fn end(&mut self, request: &Repeatable, answer: &Response) {
        if !(200..300).contains(&answer.status) {
            self.known.remove(request);
        } else if let Some(entry) = self.known.get_mut(request) {
            entry.answer = Some(answer.clone());
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, number, request)) = self.order.pop_front() else { return };
        // A key that was refused may have been used again.
        if self.known.get(&request).is_some_and(|entry| entry.number == number) {
            self.known.remove(&request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str) -> Repeatable {
        Repeatable { token: "bot".into(), key: key.into() }
    }

    #[test]
    fn an_answer_is_given_again_to_the_same_request_for_its_time() {
        let limits = Limits::default().with(|it| it.idempotent_ms = 1000);
        let (mut answers, print) = (Answers::default(), Hash::of(b"POST /broadcast {}"));
        let a = request("a");
        assert!(matches!(answers.begin(&a, print, 0, &limits), Known::Nothing));
        assert!(matches!(answers.begin(&a, print, 1, &limits), Known::UnderWay));
        assert!(matches!(answers.begin(&a, Hash::of(b"else"), 1, &limits), Known::Other));
        assert!(matches!(answers.begin(&request("b"), print, 1, &limits), Known::Nothing));
        let other = Repeatable { token: "other".into(), ..a.clone() };
        assert!(
            matches!(answers.begin(&other, print, 1, &limits), Known::Nothing),
            "keys are the token's own"
        );
        answers.end(&a, &Response::text(200, "done"));
        assert!(matches!(answers.begin(&a, print, 999, &limits), Known::Answered(it) if it.status == 200));
        assert!(matches!(answers.begin(&a, print, 1000, &limits), Known::Nothing), "it is forgotten");
    }

    #[test]
    fn a_refusal_is_not_remembered_and_there_are_only_so_many() {
        let limits = Limits::default().with(|it| it.max_idempotent = 3);
        let (mut answers, print) = (Answers::default(), Hash::of(b""));
        let a = request("a");
        answers.begin(&a, print, 0, &limits);
        answers.end(&a, &Response::text(503, "later"));
        assert!(matches!(answers.begin(&a, print, 0, &limits), Known::Nothing));
        answers.end(&a, &Response::text(200, "done"));
        // The place of the refused one goes first, and leaves the later one alone.
        answers.begin(&request("b"), print, 0, &limits);
        assert_eq!(answers.order.len(), 3);
        answers.begin(&request("c"), print, 0, &limits);
        assert!(matches!(answers.begin(&a, print, 0, &limits), Known::Answered(_)));
        answers.begin(&request("d"), print, 0, &limits);
        assert!(matches!(answers.begin(&a, print, 0, &limits), Known::Nothing), "the oldest is forgotten");
        assert!(answers.order.len() <= 3 && answers.known.len() <= 3);
    }
}
