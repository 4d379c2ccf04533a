import { text } from 'node:stream/consumers'
import { parseDocument } from 'yaml'

/**
 * A program of its own: reads YAML from its input and prints `{"value": …}` or `{"problem": "…"}`. It runs apart
 * because 16 kB of brackets keep the library busy for seconds, and more of it ends the whole process: a child has
 * limits of its own.
 */
const document = parseDocument(await text(process.stdin))
if (document.errors.length > 0) {
  const problems = document.errors.slice(0, 3).map(({ message }) => message.split('\n', 1)[0] ?? '')
  answer({ problem: `it is not valid YAML: ${problems.join('; ').replace(/:$/, '')}` })
} else {
  try {
    answer({ value: document.toJS() ?? {} })
  } catch (cause) {
    // Aliases that unfold to more than the library puts up with, or to themselves.
    answer({ problem: String(cause) })
  }
}

function answer(content: { readonly value: unknown } | { readonly problem: string }): void {
  process.stdout.write(JSON.stringify(content))
}
