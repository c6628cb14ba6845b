package blocklists

// A Class is the class of the rule that decided, or that would decide if it were
// enforced. Rules of a lower class win over rules of a higher one. The numbers are
// stored and sent: they never change, and a number is never used again.
type Class uint8

const (
	NoClass            Class = 0 // no rule decided
	OwnRule            Class = 1 // a rule of own.txt
	ImportantException Class = 2 // @@...$important
	ImportantBlock     Class = 3 // $important
	Exception          Class = 4 // @@ of a list
	ListBlock          Class = 5 // any other rule of a list
	SpecialName        Class = 6 // a built-in rule: the server answers the name by itself
	ListException      Class = 7 // @@ of a list whose exceptions hold for its own blocks alone
)

// String returns the class as the query log and the API write it; "" for none.
func (c Class) String() string {
	switch c {
	case NoClass:
		return ""
	case OwnRule:
		return "own"
	case ImportantException:
		return "important-exception"
	case ImportantBlock:
		return "important-block"
	case Exception:
		return "exception"
	case ListBlock:
		return "block"
	case SpecialName:
		return "special"
	case ListException:
		return "list-exception"
	}
	return "unknown"
}

// ObservedBy is what turned a block into Observe. The numbers are stored and sent:
// they never change, and a number is never used again.
type ObservedBy uint8

const (
	NotObserved    ObservedBy = 0 // the action is not Observe
	ByListObserve  ObservedBy = 1 // the list only observes
	BySchedule     ObservedBy = 2 // the schedule of the device's group
	ByTier         ObservedBy = 3 // the rule is of tier mixed, which is not enforced
	ByDevice       ObservedBy = 4 // the device's settings
	ByGroup        ObservedBy = 5 // the settings of the device's group
	ByPause        ObservedBy = 6 // a pause of everything
	ByEverything   ObservedBy = 7 // blocking.observe
	ByStreamAnswer ObservedBy = 8 // RPZ's rpz-tcp-only, and the question did not come by UDP

	ByDevicePause ObservedBy = 9 // a pause of the device, and so on
	ByGroupPause  ObservedBy = 10
	ByListPause   ObservedBy = 11
	ByVendorPause ObservedBy = 12

	ByWindow       ObservedBy = 13 // a time in which everything is observed
	ByDeviceWindow ObservedBy = 14 // a time in which the device is, and so on
	ByGroupWindow  ObservedBy = 15
	ByListWindow   ObservedBy = 16
	ByVendorWindow ObservedBy = 17
)

// String returns the reason as the query log and the API write it; "" for none.
func (o ObservedBy) String() string {
	switch o {
	case NotObserved:
		return ""
	case ByListObserve:
		return "list"
	case BySchedule:
		return "schedule"
	case ByTier:
		return "tier"
	case ByDevice:
		return "device"
	case ByGroup:
		return "group"
	case ByPause:
		return "pause"
	case ByEverything:
		return "everything"
	case ByStreamAnswer:
		return "tcp-only"
	case ByDevicePause:
		return "pause-device"
	case ByGroupPause:
		return "pause-group"
	case ByListPause:
		return "pause-list"
	case ByVendorPause:
		return "pause-vendor"
	case ByWindow:
		return "observe"
	case ByDeviceWindow:
		return "observe-device"
	case ByGroupWindow:
		return "observe-group"
	case ByListWindow:
		return "observe-list"
	case ByVendorWindow:
		return "observe-vendor"
	}
	return "unknown"
}
