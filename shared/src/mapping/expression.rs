//! `JMESPath` expressions within bounds, so that no tenant's rule can take more than its share of time or memory.
//!
//! `JMESPath` has no loops but its projections, and these walk disjoint parts of the payload. What can grow is a
//! result that holds a part several times (`[@,@][]`, over and over, doubles it each time), text that is escaped
//! again and again by `to_string`, and a `join` with a long separator. So the largest growth that an expression can
//! cause, and the number of steps it takes for each value of the payload, are computed from its syntax before it is
//! ever run, and the expression is refused when either is over [`COST_MAX`]. What passes is bounded by `COST_MAX`
//! steps for each of the at most 131,072 values of a 256 KiB body.

use jmespath::Variable;
use jmespath::ast::Ast;

use super::path::INDEX_MAX;

/// Most steps for each value of the payload, and most copies of a value in the result.
const COST_MAX: u32 = 64;
/// Most characters that open something or lead on; bounds the parser's and the interpreter's recursion.
const OPERATORS_MAX: usize = 64;
/// Each function of the `JMESPath` specification.
const FUNCTIONS: [&str; 26] = [
    "abs",
    "avg",
    "ceil",
    "contains",
    "ends_with",
    "floor",
    "join",
    "keys",
    "length",
    "map",
    "max",
    "max_by",
    "merge",
    "min",
    "min_by",
    "not_null",
    "reverse",
    "sort",
    "sort_by",
    "starts_with",
    "sum",
    "to_array",
    "to_number",
    "to_string",
    "type",
    "values",
];

/// Compiles an expression and checks that its cost is bounded.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(super) fn compile(text: &str) -> Result<jmespath::Expression<'static>, String> {
    let operators = text.bytes().filter(|b| b"([{.!&|<>=*".contains(b)).count();
    if operators > OPERATORS_MAX {
        return Err(format!("an expression has at most {OPERATORS_MAX} operators"));
    }
    let expression = jmespath::compile(text).map_err(|error| {
        format!("`{text}` is neither a dotted path nor JMESPath: {} at column {}", error.reason, error.column + 1)
    })?;
    let weight = weigh(expression.as_ast())?;
    if weight.cost > COST_MAX || weight.growth > COST_MAX {
        return Err(format!("`{text}` takes too long on a large payload; make it simpler"));
    }
    Ok(expression)
}

/// What an expression costs at most, relative to the size of what it is applied to.
struct Weight {
    /// How often a part of the input can stand in the result.
    growth: u32,
    /// Steps for each value of the input.
    cost: u32,
}

impl Weight {
    const STEP: Self = Self { growth: 1, cost: 1 };

    /// Both are evaluated on the same input, and either or both make the result.
    fn beside(self, other: &Self) -> Self {
        Self { growth: self.growth.saturating_add(other.growth), cost: self.cost.saturating_add(other.cost) }
    }

    /// The second is evaluated on the result of the first.
    fn then(self, next: &Self) -> Self {
        let cost = self.cost.saturating_add(self.growth.saturating_mul(next.cost));
        Self { growth: self.growth.saturating_mul(next.growth), cost }
    }
}

fn weigh(node: &Ast) -> Result<Weight, String> {
    Ok(match node {
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Literal { .. } => Weight::STEP,
        Ast::Index { idx, .. } => weigh_indices(&[Some(*idx)])?,
        Ast::Slice { start, stop, step, .. } => weigh_indices(&[*start, *stop, Some(*step)])?,
        Ast::Flatten { node, .. } | Ast::Not { node, .. } | Ast::ObjectValues { node, .. } => {
            weigh(node)?.then(&Weight::STEP)
        }
        Ast::Expref { ast, .. } => weigh(ast)?,
        Ast::Subexpr { lhs, rhs, .. } | Ast::Projection { lhs, rhs, .. } => weigh(lhs)?.then(&weigh(rhs)?),
        Ast::Condition { predicate: lhs, then: rhs, .. }
        | Ast::Comparison { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. } => weigh(lhs)?.beside(&weigh(rhs)?),
        Ast::MultiList { elements, .. } => weigh_all(elements)?,
        Ast::MultiHash { elements, .. } => {
            elements.iter().try_fold(Weight::STEP, |sum, pair| Ok::<_, String>(sum.beside(&weigh(&pair.value)?)))?
        }
        Ast::Function { name, args, .. } => weigh_function(name, args)?,
    })
}

fn weigh_all(nodes: &[Ast]) -> Result<Weight, String> {
    let nothing = Weight { growth: 0, cost: 1 };
    nodes.iter().try_fold(nothing, |sum, node| Ok(sum.beside(&weigh(node)?)))
}

/// Indices have to be small, because the interpreter adds to them and negates them without checks.
fn weigh_indices(indices: &[Option<i32>]) -> Result<Weight, String> {
    let small = indices.iter().flatten().all(|index| (-INDEX_MAX..=INDEX_MAX).contains(index));
    if small { Ok(Weight::STEP) } else { Err(format!("an index is at most {INDEX_MAX}")) }
}

fn weigh_function(name: &str, args: &[Ast]) -> Result<Weight, String> {
    /// What sorting costs a value: the logarithm of how many there can be.
    const SORT: Weight = Weight { growth: 1, cost: 17 };
    /// A control character takes six when it is escaped.
    const ESCAPE: Weight = Weight { growth: 6, cost: 1 };
    let all = weigh_all(args)?;
    Ok(match (name, args) {
        ("map" | "max_by" | "min_by" | "sort_by", [one, two]) => {
            // The expression among the two is applied to each element of the list.
            let applied = weigh(one)?.then(&weigh(two)?);
            if name == "sort_by" { applied.then(&SORT) } else { applied }
        }
        ("join", [separator, _]) => match separator {
            Ast::Literal { value, .. } if matches!(&**value, Variable::String(text) if text.len() <= 16) => {
                all.then(&Weight { growth: 17, cost: 1 })
            }
            _ => return Err("the separator of `join` is text of at most 16 bytes, such as ', '".to_owned()),
        },
        ("to_string", _) => all.then(&ESCAPE),
        ("sort", _) => all.then(&SORT),
        _ if FUNCTIONS.contains(&name) => all.then(&Weight::STEP),
        _ => return Err(format!("JMESPath has no function `{name}`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ordinary_expressions_are_within_bounds() {
        for text in [
            "items[?price > `10` && starts_with(name, 'a')].{name: name, price: price} | [0].name",
            "sort_by(events, &at)[-1].name",
            "join(', ', tags[*].label)",
            "to_string(call)",
            "max_by(attempts[?ok], &at).id || fallback.id",
            "[first, last]",
            "data.*.value[] | [0]",
            "not_null(a, b, c, d)",
        ] {
            assert!(compile(text).is_ok(), "{text}: {:?}", compile(text).err());
        }
    }

    #[test]
    fn expressions_that_could_grow_without_bound_are_refused() {
        let deep = "(".repeat(500) + "a" + &")".repeat(500);
        for text in [
            "[@,@][]|[@,@][]|[@,@][]|[@,@][]|[@,@][]|[@,@][]|[@,@][]",
            "to_string([to_string([to_string([@])])])",
            "join(a, b)",
            "join('12345678901234567', b)",
            "a[::2147483647]",
            "a[-2147483648]",
            "map(&[@,@,@,@,@,@,@,@,@], [@,@,@,@,@,@,@,@,@])",
            "nosuch(a)",
            &deep,
            &"!".repeat(900),
            &vec!["a"; 400].join(" || "),
        ] {
            assert!(compile(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_costly_expression_within_bounds_ends_on_the_largest_body() {
        let payload = json!({"a": vec![0; 131_000]});
        let expression = compile("a[?@ == `1` || @ == `2` || @ == `3`] | [0]").expect("within bounds");
        assert!(expression.search(&payload).expect("evaluates").is_null());
    }
}
