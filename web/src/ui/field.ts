import type { ChangeEvent } from 'react'
import type { FieldProblemOf } from '../api/problem.ts'

/** A form, or a part of one: what is filled in, and what is wrong with it. */
export type FormOf<T> = {
  readonly value: T
  readonly onChange: (changes: Partial<T>) => void
  readonly problem: FieldProblemOf
}

/** The same, for some of its fields. */
export type FieldsOf<T> = {
  readonly value: T
  readonly onChange: (changes: T) => void
  readonly problem: (field: string) => string | undefined
}

/** The value of a text input, and what a change of it does. */
export const bound = (value: string, set: (text: string) => void) => ({
  value,
  onChange: ({ currentTarget }: ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) =>
    set(currentTarget.value),
})

/** The value of a text input, what a change of it does, and what is wrong with it, by the name of its field. */
export const textField = <K extends string>(
  name: K,
  { value, onChange, problem }: FieldsOf<Readonly<Record<K, string>>>,
) => ({
  ...bound(value[name], (text) => onChange({ [name]: text } as Record<K, string>)),
  error: problem(name),
})
