import {
  OperationNodeTransformer,
  type KyselyPlugin,
  type PrimitiveValueListNode,
  type QueryResult,
  type UnknownRow,
  type ValueNode,
} from 'kysely';

/** Escapes in JSON text that jsonb refuses: NUL, and the lone surrogates that JSON.stringify writes out. */
const REFUSED_ESCAPES = /(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2})/gi;

/** A text as PostgreSQL can store it; what it cannot (NUL, lone surrogates) becomes U+FFFD. */
export function storableText(text: string): string {
  const whole = text.includes('\0') ? text.replaceAll('\0', '\u{fffd}') : text;
  const isJson = whole.startsWith('{') || whole.startsWith('[') || whole.startsWith('"');
  return isJson && whole.includes('\\u') ? whole.replace(REFUSED_ESCAPES, '$1\\ufffd') : whole;
}

function storable(value: unknown): unknown {
  return typeof value === 'string' ? storableText(value) : value;
}

class StorableTransformer extends OperationNodeTransformer {
  protected override transformValue(node: ValueNode): ValueNode {
    return { ...node, value: storable(node.value) };
  }

  protected override transformPrimitiveValueList(node: PrimitiveValueListNode): PrimitiveValueListNode {
    return { ...node, values: node.values.map(storable) };
  }
}

/**
 * Makes every text of a query storable: the output of a program or a cloud may hold any character, and one NUL must not
 * fail the transaction that records what happened.
 */
export function storablePlugin(): KyselyPlugin {
  const transformer = new StorableTransformer();
  return {
    transformQuery: ({ node, queryId }) => transformer.transformNode(node, queryId),
    transformResult: ({ result }): Promise<QueryResult<UnknownRow>> => Promise.resolve(result),
  };
}
