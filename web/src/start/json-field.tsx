import { Textarea } from '@mantine/core'
import type { FormOf } from '../ui/field.ts'
import classes from './start-form.module.css'

type Props<K extends string> = {
  readonly name: K
  readonly form: FormOf<Readonly<Record<K, string>>>
  readonly label: string
  readonly description: string
  readonly example: string
}

/** A field of the request that is written as JSON. The server checks it, and the problem is shown here. */
export function JsonField<K extends string>({ name, form, ...texts }: Props<K>) {
  const { value, onChange, problem } = form
  const found = problem(name)
  return (
    <Textarea
      label={texts.label}
      description={texts.description}
      placeholder={texts.example}
      classNames={{ input: classes.json }}
      value={value[name]}
      onChange={(event) => onChange({ [name]: event.currentTarget.value } as Record<K, string>)}
      error={found === undefined ? undefined : (notJson(value[name]) ?? found)}
      autosize
      maxRows={12}
      spellCheck={false}
    />
  )
}

/** Why a text is not JSON; undefined if it is. The server would only say that it is no list. */
function notJson(text: string): string | undefined {
  try {
    JSON.parse(text)
    return undefined
  } catch (cause) {
    return `This is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`
  }
}
