import { parseDocument } from 'yaml'

/** The most bytes that the content of a document may have as JSON: aliases can repeat a text many times. */
const MAX_JSON_BYTES = 64 * 1024

/** Reads a YAML document. For a thread of its own: 16 kB of brackets keep the library busy for seconds. */
export function parseYaml(
  text: string,
): { readonly value: unknown } | { readonly problem: string } {
  const document = parseDocument(text)
  if (document.errors.length > 0) {
    const problems = document.errors
      .slice(0, 3)
      .map(({ message }) => message.split('\n', 1)[0] ?? '')
    return { problem: `it is not valid YAML: ${problems.join('; ').replace(/:$/, '')}` }
  }
  try {
    const json = JSON.stringify(document.toJS() ?? {})
    if (json.length > MAX_JSON_BYTES) return { problem: 'it is too large' }
    return { value: JSON.parse(json) }
  } catch (cause) {
    // Aliases that expand beyond the limit of the library, or to themselves.
    return { problem: String(cause) }
  }
}
