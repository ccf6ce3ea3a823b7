//! Limits (contract §4): exact per tenant and system, approximate per source address.

use futures_util::future::{BoxFuture, join_all};
use http::Method;
use jiff::Timestamp;
use serde_json::json;
use shared::{
    ids::TenantId,
    integration::Limits,
    limits::outbound::{Counter, Quota, QuotaError},
    store::{Key, Reserved, Store, StoreError},
};

use crate::world::{TENANT, Tenant, World, call_ended, sample};

const NUMBER: &str = "+14155550132";

async fn send(world: &World, tenant: &Tenant, event: usize) -> u16 {
    world
        .send(tenant, "sarah_ai", &call_ended(&format!("e{event}"), &format!("c{event}"), NUMBER))
        .await
        .status
        .as_u16()
}

async fn with_limits(per_minute: u32, per_day: u32) -> (World, Tenant) {
    let world = World::new().await;
    let limits = json!({"per_minute": per_minute, "per_day": per_day});
    let tenant = world.provision(TENANT, &[json!({"system_id": "sarah_ai", "limits": limits})]).await;
    (world, tenant)
}

#[tokio::test]
async fn the_limit_of_a_minute_is_exact_across_copies_and_ends_with_it() {
    let (world, tenant) = with_limits(10, 1000).await;
    for window in 0..3 {
        let statuses = join_all((0..40).map(|i| {
            world.restart(); // every call meets a copy of its own
            send(&world, &tenant, window * 100 + i)
        }))
        .await;
        assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 10, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|s| **s == 429).count(), 30);
        world.advance(60);
    }
    let refused = {
        for event in 0..10 {
            send(&world, &tenant, 900 + event).await;
        }
        world.advance(18);
        world.send(&tenant, "sarah_ai", &call_ended("x", "x", NUMBER)).await
    };
    assert_eq!((refused.status.as_u16(), refused.text("/code")), (429, "rate_limited"));
    assert_eq!(refused.headers["retry-after"], "42", "until the minute ends");
}

#[tokio::test]
async fn the_limit_of_a_day_ends_with_the_utc_day() {
    let (world, tenant) = with_limits(5, 8).await;
    let mut statuses = Vec::new();
    for event in 0..10 {
        statuses.push(send(&world, &tenant, event).await);
        world.advance(30);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 429, 429]);
    world.advance(12 * 3600 - 301);
    let refused = world.send(&tenant, "sarah_ai", &call_ended("x", "x", NUMBER)).await;
    assert_eq!((refused.status.as_u16(), refused.headers["retry-after"].to_str().unwrap()), (429, "1"));
    world.advance(1);
    assert_eq!(send(&world, &tenant, 20).await, 200);
}

#[tokio::test]
async fn a_clock_behind_the_others_counts_in_their_window() {
    let (world, tenant) = with_limits(2, 1000).await;
    world.advance(60);
    assert_eq!(send(&world, &tenant, 1).await, 200);
    world.rewind(60);
    assert_eq!(send(&world, &tenant, 2).await, 200);
    assert_eq!(send(&world, &tenant, 3).await, 429);
}

#[tokio::test]
async fn other_systems_and_tenants_have_their_own_limits() {
    let (world, tenant) = World::with_tenant().await;
    let other = world.provision("tenant_other", &[json!({"system_id": "sarah_ai"})]).await;
    for event in 0..60 {
        assert_eq!(send(&world, &tenant, event).await, 200);
    }
    assert_eq!(send(&world, &tenant, 60).await, 429, "Sarah AI: 60 a minute");
    assert_eq!(send(&world, &other, 60).await, 200);
    let push = sample("github", "push")["body"].to_string();
    assert_eq!(world.send_with(&tenant, "github", &[("x-github-event", "push")], &push).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn github_never_sends_again_so_it_is_queued() {
    let world = World::new().await;
    let tenant =
        world.provision(TENANT, &[json!({"system_id": "github", "limits": {"per_minute": 1, "per_day": 1000}})]).await;
    let push = |n: usize| json!({"after": n.to_string()}).to_string();
    let headers = [("x-github-event", "push")];
    assert_eq!(world.send_with(&tenant, "github", &headers, &push(1)).await.text("/status"), "ignored");
    let queued = world.send_with(&tenant, "github", &headers, &push(2)).await;
    assert_eq!(
        (queued.status.as_u16(), queued.text("/status"), &queued.body["success"]),
        (202, "queued", &json!(true))
    );
    let waiting = world.get(&tenant, "/v1/inbound-events?status=queued").await.body;
    assert_eq!(waiting["data"][0]["event_id"], queued.body["event_id"]);
    let bad = world.send_with(&tenant, "github", &headers, "not JSON").await;
    assert_eq!(bad.status, 400, "what can't be read isn't queued");
    assert_eq!(world.queued().await.len(), 1);
    world.advance(60);
    assert_eq!(
        world.send_with(&tenant, "github", &headers, &push(2)).await.text("/status"),
        "ignored",
        "the note gives way to the verdict"
    );
    assert_eq!(world.get(&tenant, "/v1/inbound-events?status=queued").await.body["data"], json!([]));
}

#[tokio::test]
async fn a_source_that_is_refused_sixty_times_waits_for_the_next_minute() {
    let (mut world, tenant) = World::with_tenant().await;
    let bad = async |world: &World| {
        world.restart(); // counted across copies
        world
            .request(
                Method::POST,
                &format!("/webhooks/{TENANT}/sarah_ai"),
                &[("x-webhook-signature", "sha256=00")],
                "{}",
            )
            .await
    };
    send(&world, &tenant, 0).await;
    for n in 0..60 {
        // The first call of each copy doesn't know yet that the tenant exists, and is counted all the same.
        assert_eq!(bad(&world).await.status, 401, "{n}");
    }
    let refused = bad(&world).await;
    assert_eq!((refused.status.as_u16(), refused.text("/code")), (429, "source_rate_limited"));
    assert_eq!(refused.headers["retry-after"], "60");
    // The copy that saw it refuses that address for that target from then on, even with a good signature; no other.
    assert_eq!(send(&world, &tenant, 1).await, 429);
    let address = world.source;
    world.source = "203.0.113.8".parse().unwrap();
    assert_eq!(send(&world, &tenant, 2).await, 200);
    world.source = address;
    let push = sample("github", "push")["body"].to_string();
    assert_eq!(
        world.send_with(&tenant, "github", &[("x-github-event", "push")], &push).await.status,
        200,
        "another system of the same address"
    );
    world.advance(60);
    assert_eq!(send(&world, &tenant, 3).await, 200);
}

#[tokio::test]
async fn guessing_names_is_limited_and_costs_one_read_each_at_most() {
    let (world, _) = World::with_tenant().await;
    let guess = async |n: usize| {
        world.request(Method::POST, &format!("/webhooks/guess{n}/sarah_ai"), &[], "{}").await.status.as_u16()
    };
    for n in 0..60 {
        assert_eq!(guess(n).await, 404);
    }
    world.calls();
    assert_eq!(guess(0).await, 429);
    assert!(world.calls().iter().all(|call| call.operation != "BatchGetItem"), "what doesn't exist is remembered");
    assert_eq!(guess(61).await, 429);
    assert_eq!(world.calls().len(), 0, "a blocked source costs nothing");
}

#[tokio::test]
async fn a_source_may_call_600_times_a_minute() {
    let world = World::new().await;
    let tenant = world
        .provision(TENANT, &[json!({"system_id": "sarah_ai", "limits": {"per_minute": 10_000, "per_day": 10_000}})])
        .await;
    let body = call_ended("e", "c", NUMBER);
    let statuses =
        join_all((0..650).map(|_| async { world.send(&tenant, "sarah_ai", &body).await.status.as_u16() })).await;
    let limited = statuses.iter().filter(|s| **s == 429).count();
    // Approximate: the first call is counted before the target is known to exist.
    assert!((49..=51).contains(&limited), "{limited}");
}

/// One copy that calls a system.
struct Copy<'a> {
    world: &'a World,
    store: Store,
    limits: Limits,
}

impl Counter for Copy<'_> {
    fn reserve(&self, calls: u32) -> BoxFuture<'_, Result<Reserved, StoreError>> {
        let key = Key::of(&TenantId::parse(TENANT).unwrap(), "limit", "out#crm");
        Box::pin(async move { self.store.reserve(&key, self.limits, calls, self.world.now()).await })
    }

    fn now(&self) -> Timestamp {
        self.world.now()
    }
}

/// Lets copies make so many calls each, at once. Gives how many they may, and until when they may not.
async fn call(world: &World, copies: usize, calls: usize, limits: Limits) -> (usize, Vec<Timestamp>) {
    let copies: Vec<_> = (0..copies).map(|_| Quota::counted_by(Copy { world, store: world.store(), limits })).collect();
    for quota in &copies {
        quota.expect(calls);
    }
    let taken = join_all(copies.iter().flat_map(|quota| (0..calls).map(|_| quota.take()))).await;
    let mut ends: Vec<_> = taken
        .iter()
        .filter_map(|taken| match taken {
            Ok(()) => None,
            Err(QuotaError::Limited { until }) => Some(*until),
            Err(QuotaError::Uncounted(error)) => panic!("{error}"),
        })
        .collect();
    ends.dedup();
    (taken.iter().filter(|taken| taken.is_ok()).count(), ends)
}

#[tokio::test]
async fn our_own_calls_are_counted_exactly_and_many_at_once() {
    let world = World::new().await;
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let limits = Limits { per_minute: 97, per_day: 250, when_exceeded: None };
    world.calls();
    assert_eq!(call(&world, 1, 60, limits).await, (60, vec![]));
    assert_eq!(world.calls().len(), 4, "two for the first of a window, then one for twenty");
    assert_eq!(call(&world, 8, 20, limits).await, (37, vec![at("2026-01-15T12:01:00Z")]));
    world.advance(60);
    assert_eq!(call(&world, 8, 20, limits).await, (97, vec![at("2026-01-15T12:02:00Z")]));
    // A clock behind counts in the others' window.
    world.rewind(60);
    assert_eq!(call(&world, 1, 1, limits).await, (0, vec![at("2026-01-15T12:02:00Z")]));
    world.advance(120);
    assert_eq!(call(&world, 8, 20, limits).await, (56, vec![at("2026-01-16T00:00:00Z")]), "what the day has left");
    world.advance(12 * 3_600);
    assert_eq!(call(&world, 8, 20, limits).await.0, 97);
}

#[tokio::test]
async fn copies_that_race_for_the_last_calls_get_all_of_them() {
    for left in [1, 2, 19, 21, 39] {
        let world = World::new().await;
        let limits = Limits { per_minute: left, per_day: 1_000, when_exceeded: None };
        let (taken, _) = call(&world, 10, 20, limits).await;
        assert_eq!(taken, usize::try_from(left).unwrap());
    }
}
