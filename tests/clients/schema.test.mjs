/** The schema is the contract, as far as it is built, without a deviation. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import {
  astFromValue,
  buildSchema,
  isEnumType,
  isInputObjectType,
  isIntrospectionType,
  isSpecifiedDirective,
  isSpecifiedScalarType,
  isUnionType,
  print,
} from "graphql";

/** Where the schema says more or otherwise than the contract, each with its reason. There is no such place. */
const beyond = [];

/** What the schema does not have yet of the types that it has. This list only ever shrinks. */
const notYet = [
  "Viewer.search",
  "Viewer.memories",
  "Viewer.documents",
  "Viewer.quota",
  "Message.citations",
  "Mutation.addMemory",
  "Mutation.updateMemory",
  "Mutation.deleteMemory",
  "Mutation.clearMemories",
  "Mutation.addDocument",
  "Mutation.deleteDocument",
];

describe("schema.graphql", () => {
  const contract = coordinates(read("contract.graphql"));
  const schema = coordinates(read("../../schema.graphql"));

  it("has nothing otherwise than the contract, and nothing more", () => {
    const deviations = [...schema]
      .map(([coordinate, { text }]) => [coordinate, text, contract.get(coordinate)?.text])
      .filter(([, text, agreed]) => text !== agreed)
      .map(([coordinate, text, agreed]) => `${coordinate}: ${text}, in the contract ${agreed}`);
    assert.deepEqual(deviations, beyond);
  });

  it("has all that the contract says of the types that it has, but for what is to come", () => {
    const missing = [...contract]
      .filter(([coordinate, { owner }]) => schema.has(owner) && !schema.has(coordinate))
      .map(([coordinate]) => coordinate);
    assert.deepEqual(missing, notYet);
  });
});

function read(file) {
  return buildSchema(readFileSync(join(import.meta.dirname, file), "utf8"));
}

/**
 * Everything in a schema by its coordinate: what it is, and of what it is a part.
 *
 * @returns {Map<string, { text: string, owner?: string }>}
 */
function coordinates(schema) {
  const found = new Map();
  const add = (coordinate, text, owner) => found.set(coordinate, { text, owner });

  for (const directive of schema.getDirectives()) {
    if (!isSpecifiedDirective(directive)) add(`@${directive.name}`, "directive");
  }
  for (const type of Object.values(schema.getTypeMap())) {
    if (isIntrospectionType(type) || isSpecifiedScalarType(type)) continue;
    add(type.name, type.constructor.name);
    if (isUnionType(type)) {
      for (const member of type.getTypes()) add(`${type.name} = ${member.name}`, "member", type.name);
    } else if (isEnumType(type)) {
      for (const { name } of type.getValues()) add(`${type.name}.${name}`, "value", type.name);
    } else if (isInputObjectType(type)) {
      for (const field of inputs(type.getFields())) add(`${type.name}.${field.name}`, field.text, type.name);
    } else if ("getFields" in type) {
      for (const { name } of type.getInterfaces()) add(`${type.name} implements ${name}`, "interface", type.name);
      for (const field of Object.values(type.getFields())) {
        const coordinate = `${type.name}.${field.name}`;
        add(coordinate, String(field.type), type.name);
        for (const { name, text } of inputs(field.args)) add(`${coordinate}(${name}:)`, text, coordinate);
      }
    }
  }
  return found;
}

/** Arguments or input fields, with the type and the default of each. */
function inputs(values) {
  return Object.values(values).map(({ name, type, defaultValue }) => {
    const written = defaultValue === undefined ? "" : ` = ${print(astFromValue(defaultValue, type))}`;
    return { name, text: `${type}${written}` };
  });
}
