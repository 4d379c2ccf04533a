import { text } from 'node:stream/consumers'
import { parseDocument } from 'yaml'

/**
 * A separate program: reads YAML from its input and prints `{"value": …}` or `{"problem": "…"}`. 16 kB of brackets keep
 * the library busy for seconds, and more of them end the process, so it runs as a child with limits of its own.
 */
const document = parseDocument(await text(process.stdin))
if (document.errors.length > 0) {
  const problems = document.errors.slice(0, 3).map(({ message }) => message.split('\n', 1)[0] ?? '')
  print({ problem: `it is not valid YAML: ${problems.join('; ').replace(/:$/, '')}` })
} else {
  try {
    print({ value: document.toJS() ?? {} })
  } catch (cause) {
    // Aliases that expand beyond the limit of the library, or to themselves.
    print({ problem: String(cause) })
  }
}

function print(content: { readonly value: unknown } | { readonly problem: string }): void {
  process.stdout.write(JSON.stringify(content))
}
