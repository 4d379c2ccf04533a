import type { ChangeEvent } from 'react'
import type { FieldProblemOf } from '../api/problem.ts'

/** A form, or a part of one: what is filled in, and what is wrong with it. */
export type FormOf<T> = {
  readonly value: T
  readonly onChange: (changes: Partial<T>) => void
  readonly problem: FieldProblemOf
}

/** The same, for one of its fields. */
type Form<T> = {
  readonly value: T
  readonly onChange: (changes: T) => void
  readonly problem: (field: string) => string | undefined
}

/** The value of a text input, what a change of it does, and what is wrong with it, by the name of its field. */
export const textField = <K extends string>(
  name: K,
  { value, onChange, problem }: Form<Readonly<Record<K, string>>>,
) => ({
  value: value[name],
  onChange: (event: ChangeEvent<HTMLInputElement | HTMLTextAreaElement>) =>
    onChange({ [name]: event.currentTarget.value } as Record<K, string>),
  error: problem(name),
})

/** The same for the input of a number. An empty one holds ''. */
export const numberField = <K extends string>(
  name: K,
  { value, onChange, problem }: Form<Readonly<Record<K, number | string>>>,
) => ({
  value: value[name],
  onChange: (entered: number | string) =>
    onChange({ [name]: entered } as Record<K, number | string>),
  error: problem(name),
})

/** The same for the input of a number that is whole, and at least 1. */
export const countField = <K extends string>(
  name: K,
  form: Form<Readonly<Record<K, number | string>>>,
) => ({
  ...numberField(name, form),
  min: 1,
  allowDecimal: false,
})
