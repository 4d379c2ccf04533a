import { Select, SimpleGrid, Textarea, TextInput } from '@mantine/core'
import type { FieldProblemOf } from '../api/problem.ts'
import { NumberField } from '../ui/number-field.tsx'
import {
  kindOf,
  newId,
  type ObjectDraft,
  type RowDraft,
  type ValueDraft,
  type ValueSchema,
} from './goal-draft.ts'
import { RowsField } from './rows-field.tsx'

type Props = {
  readonly name: string
  readonly schema: ValueSchema
  readonly required: boolean
  readonly value: ValueDraft
  readonly onChange: (value: ValueDraft) => void
  /** The field of the request that has the value. */
  readonly field: string
  readonly problem: FieldProblemOf
}

/** "min_percent" as the label of a field. */
function labelOf(name: string): string {
  const words = name.replaceAll('_', ' ')
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}`
}

/** A field for a value, as its JSON Schema describes it. */
export function ValueField(props: Props) {
  const { name, schema, required, value, onChange, field, problem } = props
  const { description } = schema
  const label = labelOf(name)
  const common = { label, description, withAsterisk: required, error: problem(field) }
  const text = typeof value === 'object' ? '' : String(value)
  switch (kindOf(schema)) {
    case 'number':
      return (
        <NumberField
          {...common}
          name={name}
          form={{
            value: { [name]: typeof value === 'object' ? '' : value },
            onChange: ({ [name]: entered = '' }) => onChange(entered),
            problem: () => problem(field),
          }}
          allowDecimal={schema.type === 'number'}
          {...(schema.minimum === undefined ? {} : { min: schema.minimum })}
          {...(schema.maximum === undefined ? {} : { max: schema.maximum })}
        />
      )
    case 'choice':
      return (
        <Select
          {...common}
          data={schema.enum ?? []}
          value={text === '' ? null : text}
          onChange={(chosen) => onChange(chosen ?? '')}
          clearable={!required}
        />
      )
    case 'rows':
      return <RowsValue {...props} />
    case 'lines':
      return (
        <Textarea
          {...common}
          description={[description, 'Name: text, one a line.'].filter(Boolean).join('. ')}
          autosize
          maxRows={8}
          value={text}
          onChange={(event) => onChange(event.currentTarget.value)}
          spellCheck={false}
        />
      )
    case 'text':
      return (
        <TextInput
          {...common}
          value={text}
          onChange={(event) => onChange(event.currentTarget.value)}
          spellCheck={false}
        />
      )
  }
}

/** A list of objects. */
function RowsValue({ name, schema, required, value, onChange, field, problem }: Props) {
  const label = labelOf(name)
  return (
    <RowsField<RowDraft>
      items={typeof value === 'object' ? value : []}
      onChange={onChange}
      make={() => ({ id: newId(), values: {} })}
      nameOf={(index) => `${label.replace(/s$/, '')} ${index + 1}`}
      addLabel={`Add to ${label.toLowerCase()}${required ? ' (at least one)' : ''}`}
      description={schema.description}
      problem={problem(field, 'exact')}
    >
      {(row, change, index) => (
        <ValueFields
          schema={schema.items ?? {}}
          values={row.values}
          onChange={(values) => change({ values })}
          field={`${field}.${index}`}
          problem={problem}
        />
      )}
    </RowsField>
  )
}

type FieldsProps = {
  readonly schema: ValueSchema
  readonly values: ObjectDraft
  readonly onChange: (values: ObjectDraft) => void
  readonly field: string
  readonly problem: FieldProblemOf
}

/** The fields of an object. */
function ValueFields({ schema, values, onChange, field, problem }: FieldsProps) {
  const { properties = {}, required = [] } = schema
  return (
    <SimpleGrid cols={{ base: 1, xs: 2 }}>
      {Object.entries(properties).map(([name, own]) => (
        <ValueField
          key={name}
          name={name}
          schema={own}
          required={required.includes(name)}
          value={values[name] ?? ''}
          onChange={(value) => onChange({ ...values, [name]: value })}
          field={`${field}.${name}`}
          problem={problem}
        />
      ))}
    </SimpleGrid>
  )
}
