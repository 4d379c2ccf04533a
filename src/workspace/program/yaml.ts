import type { Answers } from '../answers.ts'
import type { Questions } from '../questions.ts'
import { contentOf } from './files.ts'
import { pathIn, Refusal } from './paths.ts'

/**
 * Reads a YAML file. 16 kB of brackets keep the library busy for seconds, and more of them end the process, so the one who asks
 * has limits.
 */
export async function yaml({ path, maxBytes }: Questions['yaml']): Promise<Answers['yaml']> {
  const text = contentOf(pathIn(path).real, maxBytes).toString()
  const { parseDocument } = await import('yaml')
  const document = parseDocument(text)
  if (document.errors.length > 0) {
    const problems = document.errors.slice(0, 3).map(({ message }) => message.split('\n', 1)[0])
    return { problem: `it is not valid YAML: ${problems.join('; ').replace(/:$/, '')}` }
  }
  let value: unknown
  try {
    value = document.toJS() ?? {}
  } catch (cause) {
    // Aliases that expand beyond the limit of the library, or to themselves.
    return { problem: String(cause) }
  }
  if (JSON.stringify(value).length > maxBytes) throw new Refusal({ type: 'too_large', maxBytes })
  return { value }
}
