//! Lists: both ways, in either order, filtered, and through `nodes`.

use serde_json::{Value, json};

use crate::support::{Api, Replica, TestDatabase, text};

const LIST: &str = "query($first: Int, $after: String, $last: Int, $before: String, \
    $filter: ConversationFilter, $orderBy: ConversationOrder) { viewer { conversations(\
      first: $first, after: $after, last: $last, before: $before, filter: $filter, orderBy: $orderBy) { \
      totalCount nodes { title } edges { cursor } \
      pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }";

fn titles(answer: &Value) -> Vec<String> {
    let nodes = answer["viewer"]["conversations"]["nodes"].as_array();
    nodes
        .expect("nodes")
        .iter()
        .map(|node| text(&node["title"]))
        .collect()
}

fn page_info(answer: &Value, name: &str) -> Value {
    answer["viewer"]["conversations"]["pageInfo"][name].clone()
}

#[tokio::test]
async fn conversations_page_both_ways_in_either_order() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    for title in ["a", "b", "c", "d", "e"] {
        api.start_chat(&viewer, title).await;
    }
    let all = api.data(&viewer, LIST, json!({})).await;
    assert_eq!(titles(&all), ["e", "d", "c", "b", "a"]);
    assert_eq!(all["viewer"]["conversations"]["totalCount"], 5);

    let mut seen = Vec::new();
    let mut after = Value::Null;
    loop {
        let page = api
            .data(&viewer, LIST, json!({ "first": 2, "after": after }))
            .await;
        seen.extend(titles(&page));
        assert_eq!(page_info(&page, "hasPreviousPage"), json!(!after.is_null()));
        after = page_info(&page, "endCursor");
        if page_info(&page, "hasNextPage") == json!(false) {
            break;
        }
    }
    assert_eq!(seen, ["e", "d", "c", "b", "a"]);

    let end = api.data(&viewer, LIST, json!({ "last": 2 })).await;
    assert_eq!(titles(&end), ["b", "a"]);
    assert_eq!(page_info(&end, "hasPreviousPage"), json!(true));
    let before = page_info(&end, "startCursor");
    let page = api
        .data(&viewer, LIST, json!({ "last": 2, "before": before }))
        .await;
    assert_eq!(titles(&page), ["d", "c"]);

    let order = json!({ "field": "CREATED_AT", "direction": "ASC" });
    let oldest = api
        .data(&viewer, LIST, json!({ "orderBy": order, "first": 3 }))
        .await;
    assert_eq!(titles(&oldest), ["a", "b", "c"]);
    let after = page_info(&oldest, "endCursor");
    let rest = api
        .data(&viewer, LIST, json!({ "orderBy": order, "after": after }))
        .await;
    assert_eq!(titles(&rest), ["d", "e"]);

    let nothing = api.data(&viewer, LIST, json!({ "first": 0 })).await;
    assert_eq!(titles(&nothing), [""; 0]);
    assert_eq!(page_info(&nothing, "hasNextPage"), json!(true));
    assert_eq!(page_info(&nothing, "endCursor"), Value::Null);
}

#[tokio::test]
async fn the_edges_that_mutations_give_have_cursors_of_the_default_lists() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    api.start_chat(&viewer, "older").await;
    let started = api
        .data(
            &viewer,
            "mutation { startChat(input: { title: \"this\" }) { \
               conversation { id } conversationEdge { cursor node { id title } } } }",
            json!({}),
        )
        .await;
    let started = &started["startChat"];
    let edge = &started["conversationEdge"];
    assert_eq!(edge["node"]["id"], started["conversation"]["id"]);
    api.start_chat(&viewer, "newer").await;
    let cursor = &edge["cursor"];
    let page = api.data(&viewer, LIST, json!({ "after": cursor })).await;
    assert_eq!(titles(&page), ["older"]);
    let page = api
        .data(&viewer, LIST, json!({ "last": 5, "before": cursor }))
        .await;
    assert_eq!(titles(&page), ["newer"]);

    let conversation = text(&started["conversation"]["id"]);
    let [_, earlier] = api.exchange(&viewer, &conversation, "one").await;
    let sent = api
        .data(
            &viewer,
            "mutation($id: ID!) { sendMessage(input: { conversationId: $id, content: \"two\" }) { \
               userMessage { id } userMessageEdge { cursor node { id } } \
               reply { id } replyEdge { cursor node { id } } } }",
            json!({ "id": conversation }),
        )
        .await;
    let sent = &sent["sendMessage"];
    let (question, reply) = (&sent["userMessage"]["id"], &sent["reply"]["id"]);
    assert_eq!(&sent["userMessageEdge"]["node"]["id"], question);
    assert_eq!(&sent["replyEdge"]["node"]["id"], reply);
    for (argument, edge, expected) in [
        (
            "first: 5, after",
            "userMessageEdge",
            json!([{ "id": reply }]),
        ),
        (
            "last: 1, before",
            "userMessageEdge",
            json!([{ "id": earlier }]),
        ),
        ("first: 5, after", "replyEdge", json!([])),
        ("last: 1, before", "replyEdge", json!([{ "id": question }])),
    ] {
        let page = api
            .data(
                &viewer,
                &format!(
                    "query($id: ID!, $cursor: String) {{ viewer {{ conversation(id: $id) {{ \
                       messages({argument}: $cursor) {{ nodes {{ id }} }} }} }} }}"
                ),
                json!({ "id": conversation, "cursor": sent[edge]["cursor"] }),
            )
            .await;
        let nodes = &page["viewer"]["conversation"]["messages"]["nodes"];
        assert_eq!(*nodes, expected, "{argument} {edge}");
    }
}

#[tokio::test]
async fn a_page_asked_for_wrongly_names_the_argument() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    api.start_chat(&viewer, "a").await;
    let page = api.data(&viewer, LIST, json!({ "first": 1 })).await;
    let cursor = page_info(&page, "endCursor");
    for (variables, argument) in [
        (json!({ "first": 1, "last": 1 }), "last"),
        (json!({ "first": -1 }), "first"),
        (json!({ "first": 101 }), "first"),
        (json!({ "last": 101 }), "last"),
        (json!({ "after": "nonsense" }), "after"),
        (json!({ "before": "" }), "before"),
        (
            json!({ "after": cursor, "filter": { "pinned": false } }),
            "after",
        ),
        (
            json!({ "after": cursor, "orderBy": { "field": "CREATED_AT", "direction": "DESC" } }),
            "after",
        ),
        (
            json!({ "filter": { "titleContains": "a\0" } }),
            "titleContains",
        ),
        (
            json!({ "filter": { "titleContains": "a".repeat(256) } }),
            "titleContains",
        ),
    ] {
        let refusal = api.refusal(&viewer, LIST, variables.clone()).await;
        assert_eq!(refusal["code"], "BAD_USER_INPUT", "{variables}");
        assert_eq!(refusal["argument"], argument, "{variables}");
    }
}

#[tokio::test]
async fn filters_hold_and_a_rename_does_not_move_a_conversation() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let first = api.start_chat(&viewer, "Mangos 100%").await;
    let second = api.start_chat(&viewer, "Papayas").await;
    let update = "mutation($input: UpdateConversationInput!) { updateConversation(input: $input) { \
        conversation { title systemPrompt model archived pinned } } }";
    let updated = api
        .data(
            &viewer,
            update,
            json!({ "input": { "conversationId": first, "title": "Ripe MANGOS 100%", "pinned": true } }),
        )
        .await;
    assert_eq!(
        updated["updateConversation"]["conversation"],
        json!({ "title": "Ripe MANGOS 100%", "systemPrompt": null, "model": "small", "archived": false, "pinned": true })
    );
    let all = api.data(&viewer, LIST, json!({})).await;
    assert_eq!(titles(&all), ["Papayas", "Ripe MANGOS 100%"]);
    for (filter, expected) in [
        (json!({ "pinned": true }), vec!["Ripe MANGOS 100%"]),
        (json!({ "pinned": false }), vec!["Papayas"]),
        (json!({ "archived": true }), vec![]),
        (
            json!({ "titleContains": "mangos" }),
            vec!["Ripe MANGOS 100%"],
        ),
        (json!({ "titleContains": "%" }), vec!["Ripe MANGOS 100%"]),
        (json!({ "titleContains": "_" }), vec![]),
    ] {
        let page = api.data(&viewer, LIST, json!({ "filter": filter })).await;
        assert_eq!(titles(&page), expected, "{filter}");
        assert_eq!(
            page["viewer"]["conversations"]["totalCount"],
            expected.len()
        );
    }

    // Absent: unchanged. Null: cleared, or refused where there is nothing to clear to.
    let cleared = api
        .data(
            &viewer,
            update,
            json!({ "input": { "conversationId": first, "title": null } }),
        )
        .await;
    assert_eq!(
        cleared["updateConversation"]["conversation"]["title"],
        Value::Null
    );
    assert_eq!(
        cleared["updateConversation"]["conversation"]["pinned"],
        true
    );
    for argument in ["model", "archived", "pinned"] {
        let input = json!({ "conversationId": second, argument: null });
        let refusal = api
            .refusal(&viewer, update, json!({ "input": input }))
            .await;
        assert_eq!(refusal["code"], "BAD_USER_INPUT");
        assert_eq!(refusal["argument"], argument);
    }
    let refusal = api
        .refusal(
            &viewer,
            update,
            json!({ "input": { "conversationId": second, "model": "gpt-9" } }),
        )
        .await;
    assert_eq!(refusal["argument"], "model");
}

#[tokio::test]
async fn the_history_is_read_from_either_end_and_through_nodes() {
    let test = TestDatabase::create().await;
    let replica = Replica::start(&test).await;
    let (api, viewer) = (Api::of(&replica), replica.viewer("alice").await);
    let conversation = api.start_chat(&viewer, "a").await;
    let [question, answer] = api.exchange(&viewer, &conversation, "one").await;
    api.exchange(&viewer, &conversation, "two").await;
    let history = "query($id: ID!, $first: Int, $after: String, $last: Int, $before: String) { \
        viewer { conversation(id: $id) { \
          lastMessage { content } activeReply { id } \
          messages(first: $first, after: $after, last: $last, before: $before) { totalCount \
            nodes { content role status parent { id } conversation { id } } \
            pageInfo { hasNextPage hasPreviousPage startCursor } } } } }";
    let contents = |answer: &Value| -> Vec<String> {
        let nodes = answer["viewer"]["conversation"]["messages"]["nodes"].as_array();
        nodes
            .expect("nodes")
            .iter()
            .map(|node| text(&node["content"]))
            .collect()
    };
    let all = api
        .data(&viewer, history, json!({ "id": conversation }))
        .await;
    assert_eq!(
        contents(&all),
        ["one", "answer to one", "two", "answer to two"]
    );
    let found = &all["viewer"]["conversation"];
    assert_eq!(found["messages"]["totalCount"], 4);
    assert_eq!(
        found["messages"]["nodes"][1]["parent"]["id"],
        json!(question)
    );
    assert_eq!(found["messages"]["nodes"][2]["parent"]["id"], json!(answer));
    assert_eq!(found["messages"]["nodes"][0]["parent"], Value::Null);
    assert_eq!(found["lastMessage"]["content"], "answer to two");
    assert_eq!(found["activeReply"], Value::Null);

    let end = api
        .data(&viewer, history, json!({ "id": conversation, "last": 3 }))
        .await;
    assert_eq!(contents(&end), ["answer to one", "two", "answer to two"]);
    let before = &end["viewer"]["conversation"]["messages"]["pageInfo"]["startCursor"];
    let rest = api
        .data(
            &viewer,
            history,
            json!({ "id": conversation, "last": 3, "before": before }),
        )
        .await;
    assert_eq!(contents(&rest), ["one"]);

    let viewer_id = api.data(&viewer, "{ viewer { id } }", json!({})).await;
    let viewer_id = text(&viewer_id["viewer"]["id"]);
    let nodes = api
        .ask(
            &viewer,
            "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }",
            json!({ "ids": [answer, conversation, "nonsense", viewer_id, answer] }),
        )
        .await;
    assert_eq!(
        nodes["data"]["nodes"],
        json!([
            { "__typename": "Message", "id": answer },
            { "__typename": "Conversation", "id": conversation },
            null,
            { "__typename": "Viewer", "id": viewer_id },
            { "__typename": "Message", "id": answer },
        ])
    );
    assert_eq!(nodes["errors"][0]["path"], json!(["nodes", 2]));
    assert_eq!(nodes["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    let refusal = api
        .refusal(
            &viewer,
            "query($id: ID!) { viewer { conversation(id: $id) { id } } }",
            json!({ "id": answer }),
        )
        .await;
    assert_eq!(refusal["argument"], "id");
    let too_many: Vec<&str> = std::iter::repeat_n(answer.as_str(), 101).collect();
    let refusal = api
        .refusal(
            &viewer,
            "query($ids: [ID!]!) { nodes(ids: $ids) { id } }",
            json!({ "ids": too_many }),
        )
        .await;
    assert_eq!(refusal["argument"], "ids");
}
