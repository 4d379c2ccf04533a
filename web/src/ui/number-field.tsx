import { NumberInput, type NumberInputProps } from '@mantine/core'
import type { FieldsOf } from './field.ts'

type Props<K extends string> = Omit<NumberInputProps, 'form' | 'name' | 'value' | 'onChange'> & {
  readonly name: K
  /** The form that has the number under this name. An empty field holds ''. */
  readonly form: FieldsOf<Readonly<Record<K, number | string>>>
  /** Whether the number is whole, and at least 1. */
  readonly isCount?: boolean
}

/** The input of a number, and what is wrong with it. */
export function NumberField<K extends string>({ name, form, isCount = false, ...rest }: Props<K>) {
  const { value, onChange, problem } = form
  return (
    <NumberInput
      {...(isCount ? { min: 1, allowDecimal: false } : {})}
      {...rest}
      value={value[name]}
      onChange={(entered) => onChange({ [name]: entered } as Record<K, number | string>)}
      error={problem(name)}
    />
  )
}
