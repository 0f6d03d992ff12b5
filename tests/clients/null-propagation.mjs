// What graphql-js makes of operations over a schema whose fields fail by their names. It reads
// {"sdl", "operations"} from its input and writes one result an operation to its output:
// {"data", "errors": [path, …]}.
//
// A field whose name begins with `fail` fails, one that begins with `void` is null. Others: `ok`
// is 1, `index` the place in the nearest list, `odd…` fails at odd places, lists have three
// entries, `…mixed…` ones fail at their second; everything else is an object.

import { buildSchema, execute, getNamedType, isListType, isNonNullType, parse, subscribe, validate } from 'graphql';

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { sdl, operations } = JSON.parse(Buffer.concat(chunks).toString());
const schema = buildSchema(sdl);

function resolve(parent, _args, _context, info) {
  const name = info.fieldName;
  const index = parent?.index ?? 0;
  if (name.startsWith('fail') || (name.startsWith('odd') && index % 2 === 1)) throw new Error('on purpose');
  if (name.startsWith('void')) return null;
  if (name === 'index') return index;
  const type = isNonNullType(info.returnType) ? info.returnType.ofType : info.returnType;
  const isObject = 'getFields' in getNamedType(type);
  if (isListType(type)) {
    return [0, 1, 2].map((place) => {
      if (/mixed/i.test(name) && place === 1) return new Error('on purpose');
      return isObject ? { index: place } : place;
    });
  }
  return isObject ? { index } : 1;
}

async function* twoEvents() {
  yield { index: 0 };
  yield { index: 1 };
}

for (const type of Object.values(schema.getTypeMap())) {
  if (!('getFields' in type) || type.name.startsWith('__')) continue;
  for (const field of Object.values(type.getFields())) {
    if (type === schema.getSubscriptionType()) {
      field.subscribe = twoEvents;
      field.resolve = (event) => event;
    } else {
      field.resolve = resolve;
    }
  }
}

function outline({ data, errors = [] }) {
  return { data, errors: errors.map((error) => error.path) };
}

const results = [];
for (const operation of operations) {
  const document = parse(operation);
  const mistakes = validate(schema, document);
  if (mistakes.length > 0) throw mistakes[0];
  if (document.definitions[0].operation === 'subscription') {
    const events = [];
    for await (const event of await subscribe({ schema, document })) events.push(outline(event));
    results.push(events);
  } else {
    results.push([outline(await execute({ schema, document }))]);
  }
}
process.stdout.write(JSON.stringify(results));
