"""What schemathesis does not know of Loquat: which ids there are, and that a refusal is an answer."""

import itertools
import json
import os

import graphql
import schemathesis

# Some of them are real, the others stay as they were made up.
IDS = itertools.cycle([*os.environ["LOQUAT_IDS"].split(), None])

# What a request may be refused with. INTERNAL_SERVER_ERROR and UNAVAILABLE are not among them.
REFUSALS = {
    "BAD_USER_INPUT",
    "CONFLICT",
    "FORBIDDEN",
    "GRAPHQL_PARSE_FAILED",
    "GRAPHQL_VALIDATION_FAILED",
    "LIMIT_EXCEEDED",
    "NOT_FOUND",
    "RATE_LIMITED",
}


class RealIds(graphql.Visitor):
    def enter_argument(self, node, *_):
        return replaced(node)

    def enter_object_field(self, node, *_):
        return replaced(node)


def replaced(node):
    name = node.name.value
    if not (name == "id" or name.endswith("Id")):
        return None
    if isinstance(node.value, graphql.VariableNode) or (real := next(IDS)) is None:
        return None
    changed = node.__copy__()
    changed.value = graphql.StringValueNode(value=real)
    return changed


@schemathesis.hook
def map_body(_context, body):
    if not isinstance(body, str):
        return body
    return graphql.print_ast(graphql.visit(graphql.parse(body), RealIds()))


@schemathesis.check
def answered(_context, response, _case):
    assert response.status_code < 500, response.status_code
    answer = json.loads(response.content)
    for error in answer.get("errors", []):
        code = error["extensions"]["code"]
        assert code in REFUSALS, error
    if "errors" not in answer:
        assert isinstance(answer["data"], dict), answer
