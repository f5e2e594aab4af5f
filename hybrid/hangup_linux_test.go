package hybrid

func init() { tellsHangup = true }
