import { ActionIcon, type ActionIconProps, Tooltip } from '@mantine/core'
import type { IconProps } from '@tabler/icons-react'
import type { ComponentPropsWithoutRef, ComponentType } from 'react'

type Props = ActionIconProps &
  Omit<ComponentPropsWithoutRef<'button'>, keyof ActionIconProps> & {
    /** What the pointer shows. Without what is in brackets, it is the name of the button. */
    readonly tip: string
    readonly icon: ComponentType<IconProps>
    readonly iconProps?: IconProps
  }

/** A button that is only an icon. */
export const IconButton = ({ tip, icon: Icon, iconProps, ...rest }: Props) => (
  <Tooltip label={tip}>
    <ActionIcon variant="subtle" size="lg" aria-label={tip.replace(/ \(.*\)$/, '')} {...rest}>
      <Icon size={19} stroke={1.6} {...iconProps} />
    </ActionIcon>
  </Tooltip>
)
