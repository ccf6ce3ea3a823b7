//! The numbers of a stream's records, and which a repeated request must get again.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// How many transactions are known again by their token. A repeat comes within seconds; the embedded engine itself
/// forgets after ten minutes.
const TOKENS_MAX: usize = 50_000;

/// Draws numbers that grow.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: u64,
    /// What each transaction that was carried out got, by its `ClientRequestToken`. The engine refuses a token that
    /// comes with another request, and the records are part of the request.
    drawn: HashMap<String, Range<u64>>,
    /// The tokens, oldest first.
    tokens: VecDeque<String>,
}

impl Numbers {
    /// Makes sure that no number up to `last` is drawn again.
    pub(super) fn go_on_after(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// Numbers for that many records: what the same request got before, or else higher ones than ever, and not below
    /// `now_us`, so that a number tells the time and grows over a restart.
    pub(super) fn draw(&mut self, token: Option<&str>, count: u64, now_us: u64) -> Range<u64> {
        let before = token.and_then(|token| self.drawn.get(token));
        if let Some(drawn) = before.filter(|drawn| drawn.end - drawn.start == count) {
            return drawn.clone();
        }
        let first = now_us.max(self.last + 1);
        self.last = first + count - 1;
        first..first + count
    }

    /// Remembers what the transaction with this token got.
    pub(super) fn remember(&mut self, token: String, drawn: Range<u64>) {
        if self.drawn.insert(token.clone(), drawn).is_some() {
            return;
        }
        self.tokens.push_back(token);
        if self.tokens.len() > TOKENS_MAX
            && let Some(oldest) = self.tokens.pop_front()
        {
            self.drawn.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_with_the_clock_and_without() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.draw(None, 2, 0), 1..3);
        assert_eq!(numbers.draw(None, 1, 1000), 1000..1001);
        assert_eq!(numbers.draw(None, 1, 900), 1001..1002);
        numbers.go_on_after(5000);
        numbers.go_on_after(10);
        assert_eq!(numbers.draw(None, 1, 2000), 5001..5002);
    }

    #[test]
    fn a_token_gets_its_numbers_again_while_it_is_known() {
        let mut numbers = Numbers::default();
        let drawn = numbers.draw(Some("a"), 2, 0);
        assert_eq!(numbers.draw(Some("a"), 2, 0), 3..5, "it wasn't carried out");
        numbers.remember("a".to_owned(), drawn.clone());
        assert_eq!(numbers.draw(Some("a"), 2, 9), drawn);
        assert_eq!(numbers.draw(Some("a"), 3, 0), 5..8, "it is another request");
        for number in 0..TOKENS_MAX {
            numbers.remember("a".to_owned(), drawn.clone());
            numbers.remember(number.to_string(), 0..1);
        }
        assert!(numbers.draw(Some("a"), 2, 0).start > 5);
        assert_eq!((numbers.drawn.len(), numbers.tokens.len()), (TOKENS_MAX, TOKENS_MAX));
    }
}
