//! The list of partitions is complete: what exports and what deletes goes by it.

use std::collections::BTreeSet;

use shared::partitions::{KINDS, OF_SUBSCRIPTIONS, OF_SYSTEMS, Owners};

use super::{filled, items_of, kind_of};
use crate::world::World;

#[tokio::test(start_paused = true)]
async fn every_item_is_in_a_partition_that_is_known_and_found() {
    let world = World::new().await;
    filled(&world, "acme").await;
    let items = world.items().await;
    let ours = |item: &&shared::store::Item| !item.get_text("pk").unwrap().starts_with("_unknown#");
    let owners = Owners::of(&world.store(), &"acme".to_owned().try_into().unwrap()).await.unwrap();
    let found = owners.partitions();
    let mut kinds = BTreeSet::new();
    for item in items.iter().filter(ours) {
        let (_, partition) = kind_of(item);
        assert!(found.contains(&partition), "{partition:?} isn't found");
        kinds.insert(partition.kind);
    }
    let all: BTreeSet<&str> = KINDS.iter().chain(&OF_SYSTEMS).chain(&OF_SUBSCRIPTIONS).copied().collect();
    assert_eq!(kinds, all, "this tenant has something of each");
    assert_eq!(items.iter().filter(ours).count(), items_of(&world, "acme").await.len());
}
