import { ActionIcon, Button, Fieldset, Input, Text } from '@mantine/core'
import { IconArrowDown, IconArrowUp, IconPlus, IconTrash } from '@tabler/icons-react'
import { type ReactNode, useRef } from 'react'
import classes from './start-form.module.css'

type Props<T> = {
  readonly items: readonly T[]
  readonly onChange: (items: readonly T[]) => void
  readonly make: () => T
  /** What one of them is called: "Rule 2". */
  readonly nameOf: (index: number) => string
  readonly addLabel: string
  /** Whether the order matters, so that a person can change it. */
  readonly ordered?: boolean
  readonly description?: string | undefined
  readonly problem?: string | undefined
  readonly children: (item: T, change: (changes: Partial<T>) => void, index: number) => ReactNode
}

const ICON = { size: 16, stroke: 1.8 } as const

/** A list whose items are filled in one below the other. */
export function RowsField<T extends { readonly id: string }>(props: Props<T>) {
  const { items, onChange, make, nameOf, addLabel, ordered = false } = props
  const add = useRef<HTMLButtonElement>(null)
  const remove = (index: number): void => {
    onChange(items.toSpliced(index, 1))
    // The button that was pressed is gone.
    add.current?.focus()
  }
  return (
    <div className={classes.rows}>
      {props.description !== undefined && (
        <Text size="sm" c="dimmed">
          {props.description}
        </Text>
      )}
      {items.map((item, index) => (
        <Fieldset key={item.id} legend={nameOf(index)} className={classes.row}>
          <div className={classes.actions}>
            {ordered && <Moves {...{ items, onChange, index }} name={nameOf(index)} />}
            <Action
              label={`Remove ${nameOf(index)}`}
              icon={<IconTrash {...ICON} />}
              onClick={() => remove(index)}
            />
          </div>
          {props.children(
            item,
            (changes) => onChange(items.with(index, { ...item, ...changes })),
            index,
          )}
        </Fieldset>
      ))}
      {props.problem !== undefined && <Input.Error>{props.problem}</Input.Error>}
      <Button
        ref={add}
        variant="default"
        size="xs"
        className={classes.add}
        leftSection={<IconPlus {...ICON} />}
        onClick={() => onChange([...items, make()])}
      >
        {addLabel}
      </Button>
    </div>
  )
}

type MovesProps<T> = Pick<Props<T>, 'items' | 'onChange'> & {
  readonly index: number
  readonly name: string
}

/** Two buttons that give an item another place. */
function Moves<T>({ items, onChange, index, name }: MovesProps<T>) {
  const moveTo = (place: number): void =>
    onChange(items.toSpliced(index, 1).toSpliced(place, 0, ...items.slice(index, index + 1)))
  return (
    <>
      <Action
        label={`Move ${name} up`}
        icon={<IconArrowUp {...ICON} />}
        disabled={index === 0}
        onClick={() => moveTo(index - 1)}
      />
      <Action
        label={`Move ${name} down`}
        icon={<IconArrowDown {...ICON} />}
        disabled={index === items.length - 1}
        onClick={() => moveTo(index + 1)}
      />
    </>
  )
}

type ActionProps = {
  readonly label: string
  readonly icon: ReactNode
  readonly disabled?: boolean
  readonly onClick: () => void
}

function Action({ label, icon, disabled = false, onClick }: ActionProps) {
  return (
    <ActionIcon
      variant="subtle"
      color="gray"
      aria-label={label}
      title={label}
      disabled={disabled}
      onClick={onClick}
    >
      {icon}
    </ActionIcon>
  )
}
