//! Lists of contacts and companies.

use serde_json::{Value, json};

use super::{NUMBER, world, wrong};

#[tokio::test]
async fn records_are_listed_and_found_by_what_tells_them_apart() {
    let (world, tenant) = world().await;
    let contact =
        |n: u32| json!({"first_name": format!("N{n}"), "email": format!("n{n}@example.com"), "phone_number": NUMBER});
    for n in 0..4 {
        world.put(&tenant, &format!("/v1/contacts/con_{n}"), &contact(n)).await;
    }
    world.put(&tenant, "/v1/companies/com_1", &json!({"name": "Engines", "domain": "engines.example"})).await;
    world.delete(&tenant, "/v1/contacts/con_3").await;
    let found = async |path: &str| -> Vec<Value> {
        let answer = world.get(&tenant, path).await;
        assert_eq!((answer.status.as_u16(), &answer.body["next_cursor"]), (200, &Value::Null), "{answer:?}");
        answer.body["data"].as_array().unwrap().iter().map(|record| record["id"].clone()).collect()
    };
    assert_eq!(found("/v1/contacts").await, ["con_0", "con_1", "con_2"]);
    assert_eq!(found("/v1/contacts?email=N1%40example.com").await, ["con_1"]);
    assert_eq!(found("/v1/contacts?phone_number=%2B14155550132").await, ["con_0", "con_1", "con_2"]);
    assert_eq!(found("/v1/contacts?email=n3%40example.com").await, Vec::<Value>::new(), "it is deleted");
    assert_eq!(found("/v1/companies?domain=engines.example").await, ["com_1"]);
    assert_eq!(found("/v1/contacts?email=n2%40example.com&phone_number=%2B14155550132").await, ["con_2"]);
    assert_eq!(found("/v1/contacts?email=n2%40example.com&phone_number=%2B14155550133").await, Vec::<Value>::new());
    let page = world.get(&tenant, "/v1/contacts?phone_number=%2B14155550132&limit=2").await;
    assert_eq!(page.body["data"].as_array().unwrap().len(), 2);
    let rest = format!("/v1/contacts?phone_number=%2B14155550132&limit=2&cursor={}", page.text("/next_cursor"));
    assert_eq!(found(&rest).await, ["con_2"]);
    for (query, field) in
        [("email=n1%40example.com&limit=0.5", "limit"), ("email=a", "email"), ("phone_number=null", "phone_number")]
    {
        assert_eq!(wrong(&world.get(&tenant, &format!("/v1/contacts?{query}")).await), [field]);
    }
    assert_eq!(wrong(&world.get(&tenant, "/v1/companies?email=a").await), ["email"]);
}
